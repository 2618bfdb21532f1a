"""What a finished run says of itself, checked against its fingerprints, and how far to trust it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrtool.core.errors import DataError, RunError, counted, first_few
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, seal_of
from cxrtool.core.origin import NAMES
from cxrtool.core.packs import RunCohort
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import (
    AGAIN,
    AncestorFacts,
    CertificateFacts,
    Counts,
    InheritedFacts,
    PublishedFacts,
    RunLabels,
    RunModel,
    RunPatients,
    RunThresholds,
    TriageFacts,
    checked,
    read_as,
)
from cxrtool.core.yaml_files import read_yaml

EDITABLE = "thresholds"
"""The one key of thresholds.json that may be edited by hand."""
LEAST_PATIENTS = 10
"""With fewer of a class on valid no threshold is chosen (`intervals.LEAST_PATIENTS`)."""
SHIFTED = 1.2
"""By how much a share must be multiplied or divided to be worth a warning."""
NOBODY = RunPatients(train=frozenset(), valid=frozenset())
MENDING = ("prior", "platt", "isotonic")
"""The calibrations that put base rates right; a temperature alone does not."""


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What a finished run says of itself."""

    arch: str
    drop_rate: float
    image_size: int
    image_sizes: tuple[int, ...]
    """The squares that an image is squished to in turn; the last is the network's input."""
    fold: int | None
    """The fold that was its valid part, if it was trained on folds."""
    pixel_mean: float
    pixel_std: float
    manifest_sha256: str
    split_sha256: str
    weights_sha256: str
    labels: tuple[str, ...]
    uncertainty: str
    blank: str
    thresholds: dict[str, float | None]
    """Each label's, as `predict` uses them."""
    operating_point: str
    """The rule that they were chosen by."""
    chosen_on: str = "valid"
    """The images that they were chosen on."""
    family: str | None = None
    """Of which promises they are, where they are certified."""
    certificates: dict[str, CertificateFacts] = field(default_factory=dict)
    """What is known of each certified threshold, but of those edited by hand."""
    triage: TriageFacts | None = None
    """Two certified thresholds a label, where they were stored."""
    operating_points: dict[str, dict[str, float | None]]
    """The thresholds of all rules that were asked for so far."""
    calibration: dict[str, Any] | None
    """What `predict` makes of the network's probabilities, as `evaluate --keep` stored it."""
    train_patients: frozenset[str]
    valid_patients: frozenset[str]
    """Their hashes; plain ids where there is no `patients_key`."""
    patients_key: str | None = None
    """The fingerprint of the key that they are hashed with (`patient_keys`)."""
    cohort: RunCohort
    """How many they are; of a pack, that is all that is known of them."""
    packed: bool = False
    """Whether it was a pack."""
    registers: tuple[str, ...] | None = None
    """In which data sets these ids are the same people; None: in all, as far as is known."""
    ancestors: tuple[AncestorFacts, ...] = ()
    """The runs that it began from, the nearest first, over all generations."""
    inherited: tuple[InheritedFacts, ...] = ()
    """Their patients."""
    has_pictures: bool = False
    """Whether it keeps the fingerprints of its images; those of version 0.1 do not."""
    without: dict[str, str] = field(default_factory=dict)
    """Why labels have no threshold; of version 0.1, why one that they have says little."""
    edited: tuple[str, ...] = ()
    """The labels whose threshold was edited by hand."""
    shifted: tuple[str, ...] | None = None
    """The labels that weighted sampling drew clearly more or less often than the data have them;
    None: not known, of a run of version 0.1."""
    train: dict[str, Counts] | None = None
    """How many of each label's training images are positive, and what was drawn of them."""
    published: PublishedFacts | None = None
    """Who it is, where others trained and published it."""
    sealed: bool = True
    """Whether model.json has a fingerprint of its own; those of version 0.1 have none."""


def read_card(run: RunFolder) -> RunCard:
    """Read a finished run's JSON files and check all of it against its fingerprints.

    Raises:
        RunError: the run is not finished, a file is missing, altered or of another version.
    """
    if not run.finished:
        raise RunError(
            f"{run.path} is not a finished run ({run.model.name} is missing): "
            "train it to its end, or name another run"
        )
    model = _read_model(run)
    packed = run.cohort.name in model.sha256
    bound = [run.weights, run.labels, run.cohort if packed else run.patients]
    bound += [run.pictures] if run.pictures.name in model.sha256 else []
    _refuse_missing(run, run.thresholds, *bound)
    labels = read_as(run.labels, RunLabels)
    patients = NOBODY if packed else read_as(run.patients, RunPatients)
    cohort = read_as(run.cohort, RunCohort) if packed else _cohort(patients, labels)
    thresholds = _read_thresholds(run, model, labels)
    for path in bound:
        if sha256(path) != model.sha256[path.name]:
            raise RunError(
                f"{path} is not the file that training wrote (its SHA-256 differs from the one "
                f"in {run.model.name}): {AGAIN}"
            )
    name = name_of_point(thresholds.operating_point, thresholds.family, thresholds.chosen_on)
    usual = thresholds.operating_points.get(name, thresholds.thresholds)
    edited = tuple(one for one in labels.labels if usual.get(one) != thresholds.thresholds[one])
    certificates = thresholds.certificates or {}
    return RunCard(
        arch=model.arch,
        drop_rate=model.drop_rate,
        image_size=model.image_size,
        image_sizes=model.squish,
        fold=model.fold,
        pixel_mean=model.pixel_mean,
        pixel_std=model.pixel_std,
        manifest_sha256=model.manifest_sha256,
        split_sha256=model.split_sha256,
        weights_sha256=model.sha256[run.weights.name],
        labels=labels.labels,
        uncertainty=labels.uncertainty,
        blank=labels.blank,
        thresholds={label: thresholds.thresholds[label] for label in labels.labels},
        without=_estimated(model, labels) if thresholds.without is None else thresholds.without,
        edited=edited,
        shifted=cohort.shifted,
        train=labels.train,
        operating_point=thresholds.operating_point,
        chosen_on=thresholds.chosen_on,
        family=thresholds.family,
        certificates={one: of for one, of in certificates.items() if one not in edited},
        triage=thresholds.triage,
        operating_points=thresholds.operating_points,
        calibration=thresholds.calibration,
        train_patients=patients.train,
        valid_patients=patients.valid,
        patients_key=patients.key,
        cohort=cohort,
        packed=packed,
        registers=patients.registers,
        ancestors=patients.ancestors,
        inherited=patients.inherited,
        has_pictures=run.pictures in bound,
        published=model.published,
        sealed=model.sealed is not None,
    )


def _cohort(patients: RunPatients, labels: RunLabels) -> RunCohort:
    return RunCohort(
        train=len(patients.train),
        valid=len(patients.valid),
        both=len(patients.train & patients.valid),
        collections=tuple(one for one in patients.registers or () if one in NAMES),
        shifted=_shifted(labels),
    )


def name_of_point(operating_point: str, family: str | None, chosen_on: str) -> str:
    """Under which name a run keeps the thresholds of a rule: with what is not as usual.

    >>> name_of_point("youden", None, "valid"), name_of_point("certified-npv=0.98", "holm", "ours")
    ('youden', 'certified-npv=0.98, holm, chosen on ours')
    """
    parts = [operating_point] + ([family] if family not in (None, "none") else [])
    return ", ".join(parts + ([f"chosen on {chosen_on}"] if chosen_on != "valid" else []))


def _refuse_missing(run: RunFolder, *needed: Path) -> None:
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise RunError(
            f"{run.path} is incomplete ({first_few(missing)} missing): "
            "restore the folder from a copy, or train again"
        )


def _read_model(run: RunFolder) -> RunModel:
    values = read_json(run.model, AGAIN)
    model = checked(values, RunModel, run.model)
    # Runs of version 0.1 have neither.
    if (model.sealed or model.identity) and model.sealed != seal_of(values):
        raise RunError(f"{run.model} was edited since training wrote it (`sealed`): {AGAIN}")
    return model


def _read_thresholds(run: RunFolder, model: RunModel, labels: RunLabels) -> RunThresholds:
    """A run's thresholds.json, all of it as cxrtool wrote it but for thresholds edited by hand."""
    values = read_json(run.thresholds, AGAIN)
    found = checked(values, RunThresholds, run.thresholds)
    lacking = [label for label in labels.labels if label not in found.thresholds]
    strange = [label for label in found.thresholds if label not in labels.labels]
    problem = ""
    if lacking or strange:
        problem = (
            f": thresholds lacks {first_few(lacking) or 'none'} of the labels and "
            f"has {first_few(strange) or 'none'} in addition"
        )
    elif found.sealed is None:
        problem = "" if model.sealed is None else ": `sealed` is missing"
    elif found.sealed != seal_of(values, [EDITABLE]):
        problem = f" was edited since cxrtool wrote it (`sealed`), in more than its `{EDITABLE}`"
    elif found.weights_sha256 != model.sha256[run.weights.name]:
        problem = f" is of another run: its weights_sha256 is not that of {run.weights.name}"
    if problem:
        raise RunError(f"{run.thresholds}{problem}: {AGAIN}")
    return found


def sealed_thresholds(values: Mapping[str, Any], weights_sha256: str) -> dict[str, Any]:
    """What thresholds.json is to hold, bound to the weights and sealed but for hand's edits."""
    bound = {**values, "weights_sha256": weights_sha256}
    return {**bound, "sealed": seal_of(bound, [EDITABLE])}


def _estimated(model: RunModel, labels: RunLabels) -> dict[str, str]:
    """Of a run of version 0.1, the labels that had too few images on valid, judged by train.

    It chose thresholds whatever valid held and did not count it, but valid and train are balanced.
    """
    found: dict[str, str] = {}
    images = (model.images or {}).get("valid", 0)
    for label, counts in (labels.train or {}).items():
        numbers = {"positive": counts.positives, "negative": counts.n - counts.positives}
        for of_class, number in numbers.items():
            expected = round(images * number / counts.n) if counts.n else 0
            if expected < LEAST_PATIENTS:
                found.setdefault(label, f"valid had about {counted(expected, of_class)}")
    return found


def remarks(run: RunFolder, card: RunCard) -> tuple[str, ...]:
    """What everybody who scores with a run should know of its files."""
    found = []
    if card.published is not None:
        found.append(
            f"{run.name}: a published network, trained by others on {card.published.words}: its "
            "scores are comparable with those on the same images alone"
        )
    if card.edited:
        found.append(
            f"{run.name}: thresholds.json was edited by hand for {first_few(card.edited)}: "
            f"decisions go by what it says now; {_restoring(run, card)}"
        )
    if not card.sealed:
        found.append(
            f"{run.name}: model.json is of version 0.1 and has no fingerprint of its own: whether "
            "its image sizes and means are those of the training cannot be checked"
        )
    return tuple(found)


def calibration_words(stored: Mapping[str, Any] | None) -> str:
    """A stored calibration in a few words: its method, and where probabilities are moved to."""
    if not stored:
        return "none"
    moved = stored.get("moved_to") or {}
    places = ", ".join(f"{label} {100 * share:.3g} %" for label, share in moved.items())
    method = str(stored.get("method") or "not known")
    return f"{method}, moved to prevalences of {places}" if places else method


def prevalence_remark(name: str, stored: Mapping[str, Any] | None) -> str | None:
    """What readers of a model's probabilities should know of where they are moved to."""
    if not (stored and stored.get("moved_to")):
        return None
    return (
        f"{name}: probabilities are {calibration_words(stored)}: they hold where labels are as "
        "frequent as that (`cxrtool evaluate RUN --prevalence none --keep` takes it back)"
    )


def _restoring(run: RunFolder, card: RunCard) -> str:
    """What puts thresholds back that were edited by hand."""
    rule = f"--operating-point {card.operating_point}"
    family = f" --family {card.family}" if card.family not in (None, "none") else ""
    if card.chosen_on != "valid":
        return (
            f"`cxrtool certify {run.name} --truth {card.chosen_on} {rule}{family}` restores what "
            f"was chosen on {card.chosen_on}"
        )
    return f"`cxrtool evaluate {run.name} {rule}{family} --keep` restores what was chosen on valid"


def sampling_remark(run: RunFolder, card: RunCard) -> str | None:
    """What readers of a run's probabilities should know of its sampling; None: nothing.

    A calibration that the run has stored mends what weighted sampling does to them.
    """
    if card.calibration is not None and card.calibration.get("method") in MENDING:
        return None
    if card.shifted is not None:
        return shift_remark(run.name, card.shifted) if card.shifted else None
    try:
        weighted = read_yaml(run.config).get("sampling") == "weighted"
    except DataError:  # nothing else is lost with the settings of a finished run
        weighted = False
    return shift_remark(run.name, None) if weighted and len(card.labels) > 1 else None


def _shifted(labels: RunLabels) -> tuple[str, ...] | None:
    shares = {
        label: (counts.positives / max(counts.n, 1), counts.drawn)
        for label, counts in (labels.train or {}).items()
        if counts.drawn is not None
    }
    return shifted_labels(shares) if shares else None


def shifted_labels(shares: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """The labels whose share of positives in what was drawn is clearly another than in the data.

    Args:
        shares: each label's two shares, of the data and as drawn.
    """
    return tuple(
        label
        for label, (share, drawn) in shares.items()
        if share > 0 and drawn > 0 and max(drawn / share, share / drawn) >= SHIFTED
    )


def shift_remark(run: str, labels: Sequence[str] | None) -> str:
    """What readers of a run's probabilities should know of weighted sampling, and do.

    Args:
        run: its name.
        labels: of `shifted_labels`; None: not known, as of a run of version 0.1.
    """
    shown = "labels" if labels is None else first_few(labels, 3)
    return (
        f"{run} was trained with weighted sampling, which showed it {shown} at other rates than "
        "the data have: probabilities, mostly those of rare labels, are too high (ranks, "
        "thresholds and decisions are not affected); "
        f"`cxrtool evaluate {run} --calibrate platt --keep` calibrates them on valid"
    )
