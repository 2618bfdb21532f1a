"""The model's card: what a run says of itself, and how it scored on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrtool.core.errors import RunError, counted
from cxrtool.core.json_files import read_json
from cxrtool.core.numbers import Estimate, interval, number
from cxrtool.core.origin import DRAWN
from cxrtool.core.run_cards import RunCard, calibration_words, read_card, sampling_remark
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import Metrics, read_as
from cxrtool.data.provenance import TRAINED_ON_DRAWINGS, data_of_run
from cxrtool.data.starts import without_folders
from cxrtool.inference.scorer import promises_of
from cxrtool.reports.summary import summary

NOT_ESTIMATED = Estimate()
NOT_SCORED = "not scored on test yet"
NOT_KNOWN = "not known"
DRAWINGS = f"{TRAINED_ON_DRAWINGS[0].upper()}{TRAINED_ON_DRAWINGS[1:]}."
TRAINED_ON = "Its test score is of patients that it was trained on."


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """How well a label's images are told apart on test."""

    label: str
    auroc: Estimate = NOT_ESTIMATED

    @property
    def shown(self) -> str:
        """The AUROC with its interval; empty where it is not known."""
        return _with_ends(self.auroc) if self.auroc.value is not None else ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the page says of its model."""

    name: str
    score: str
    """The mean AUROC on test with its interval, in a few words."""
    brief: str
    """What it is, in a line."""
    rows: tuple[tuple[str, str], ...]
    """What is told, and what it is."""
    labels: tuple[LabelScore, ...]
    level: float | None = None
    """Of the intervals."""
    operating_point: str
    warnings: tuple[str, ...] = ()
    """Why its scores say less than they seem to."""
    banner: str = ""
    """What stands above everything else."""


def facts_of_run(run: RunFolder, computes: str) -> Facts:
    """A finished run's card.

    Args:
        run: where it is.
        computes: the engine, device and precision in use, in words.

    Raises:
        RunError: the run is not whole.
    """
    card, model = read_card(run), read_json(run.model)
    scores, problem = _scores(run.metrics("test"))
    data = data_of_run(run)
    seen_twice = card.cohort.both
    rows = {
        "Network": f"{card.arch}, {card.image_size} × {card.image_size} pixels",
        "Trained on": _trained_on(card, model),
        "Images of the training": str(data.get("description") or NOT_KNOWN),
        "Epochs": f"{model.get('epochs', '?')}, the best of them {model.get('best_epoch', '?')}",
        "Uncertain labels": _policy(card.uncertainty, card.blank),
        "Split": "by image: patients are in train and valid both"
        if seen_twice
        else "by patient: nobody is in train and valid both",
        "Test": _tested(scores),
        "Thresholds": f"{card.operating_point}, chosen on {card.chosen_on}"
        f"{_missing(card.thresholds)}; " + _calibrated(card.calibration),
        **_promised(promises_of(card)),
        "Computes with": computes,
    }
    trained_on = bool(scores and (scores.protocol or {}).get("trained_on"))
    inflated = sampling_remark(run, card)
    return Facts(
        name=run.name,
        score=_score(scores.mean_auroc, scores.mean_auroc_ci) if scores else NOT_SCORED,
        brief=f"{card.arch} at {card.image_size} px, trained on "
        f"{counted(card.cohort.train, 'patient')}, {computes}",
        rows=tuple(rows.items()),
        level=(scores.intervals or {}).get("level") if scores else None,
        labels=tuple(_of_label(scores, label) for label in card.labels),
        operating_point=str(card.operating_point),
        banner=DRAWINGS if data.get("origin") == DRAWN else "",
        warnings=(
            *((TRAINED_ON,) * trained_on),
            *((inflated,) if inflated else ()),
            *problem,
        ),
    )


def facts_of_file(
    path: Path, about: Mapping[str, Any], computes: str, promises: Sequence[str] = ()
) -> Facts:
    """The card of an exported model, as far as the file tells.

    Args:
        path: of the file.
        about: what it says of itself, of `exported.read_exported`.
        computes: the engine, device and precision in use, in words.
        promises: what its certified thresholds promise, in words.
    """
    arch, image_size = about.get("arch", "network"), (about.get("squish") or ["?"])[-1]
    patients = about.get("train_patients")
    trained = "not known" if patients is None else counted(patients, "patient")
    score = _score(about.get("test_mean_auroc"))
    data = about.get("train_data") or {}
    protocol = about.get("test_protocol") or {}
    rows = {
        "Network": f"{arch}, {image_size} × {image_size} pixels",
        "Exported from": about.get("run", "not known"),
        "Trained on": trained,
        "Images of the training": data.get("description") or NOT_KNOWN,
        "Uncertain labels": _policy(about.get("uncertainty"), about.get("blank")),
        "Split": f"by {protocol['split_by']}" if protocol.get("split_by") else "not known",
        "Test": score,
        "Thresholds": f"{about.get('operating_point', 'not known')}, chosen on "
        f"{about.get('chosen_on') or 'valid'}{_missing(about.get('thresholds') or {})}; "
        + _calibrated(about.get("calibration")),
        **_promised(promises),
        "Computes with": computes,
    }
    return Facts(
        name=path.name,
        score=score,
        brief=f"{arch} at {image_size} px, "
        + ("" if patients is None else f"trained on {trained}, ")
        + computes,
        rows=tuple((term, str(text)) for term, text in rows.items()),
        labels=tuple(LabelScore(label=str(label)) for label in about.get("labels") or ()),
        operating_point=str(about.get("operating_point", NOT_KNOWN)),
        banner=DRAWINGS if data.get("origin") == DRAWN else "",
        warnings=(
            *((TRAINED_ON,) * bool(protocol.get("trained_on"))),
            *((str(about["sampling_remark"]),) if about.get("sampling_remark") else ()),
        ),
    )


def _trained_on(card: RunCard, model: Mapping[str, Any]) -> str:
    images = (model.get("images") or {}).get("train")
    told = "" if images is None else f"{counted(images, 'image')} of "
    start = model.get("weights_from")
    return f"{told}{counted(card.cohort.train, 'patient')}" + (
        f", starting from {without_folders(str(start))}" if start else ""
    )


def _policy(uncertainty: Any, blank: Any) -> str:
    """What became of labels called uncertain, and of those that were not mentioned."""
    told = {None: "not known", "ignore": "not counted"}
    return f"{uncertainty or 'not known'}; labels not mentioned: {told.get(blank, blank)}"


def _promised(promises: Sequence[str]) -> dict[str, str]:
    """A row of what certified thresholds promise; none without."""
    return {"Promised": "; ".join(promises)} if promises else {}


def _missing(thresholds: Mapping[str, float | None]) -> str:
    """How many labels have no threshold, in words."""
    none = sum(limit is None for limit in thresholds.values())
    return f", none for {none} of {len(thresholds)} labels" if none else ""


def _calibrated(calibration: Mapping[str, Any] | None) -> str:
    how = f"calibrated ({calibration_words(calibration)})" if calibration else "as computed"
    return f"probabilities {how}"


def _score(mean: float | None, ends: Sequence[float] | None = None) -> str:
    if mean is None:
        return NOT_SCORED
    return f"mean AUROC on test {_with_ends(Estimate.of(mean, ends))}"


def _of_label(scores: Metrics | None, label: str) -> LabelScore:
    one = scores.labels.get(label) if scores else None
    if one is None:
        return LabelScore(label=label)
    return LabelScore(label=label, auroc=Estimate.of(one.auroc, one.auroc_ci))


def _with_ends(estimate: Estimate) -> str:
    ends = interval(estimate.interval, between=" to ")
    return number(estimate.value) + (f" ({ends})" if ends else "")


def _tested(scores: Metrics | None) -> str:
    if scores is None:
        return f"{NOT_SCORED}: cxrtool evaluate"
    return summary(
        Estimate.of(scores.mean_auroc, scores.mean_auroc_ci),
        defined=scores.defined or 0,
        labels=len(scores.labels),
        n=scores.n or 0,
        unit=scores.unit or "image",
        patients=scores.patients,
        level=(scores.intervals or {}).get("level"),
    )


def _scores(path: Path) -> tuple[Metrics | None, tuple[str, ...]]:
    """The scores on test, if there are any, and why they cannot be read."""
    if not path.exists():
        return None, ()
    try:
        return read_as(path, Metrics), ()
    except RunError as error:
        return None, (str(error).replace(str(path), f"metrics/{path.name}", 1),)
