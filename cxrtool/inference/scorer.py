"""A model that is ready to score: its labels, thresholds and calibration around an engine.

Nothing here imports torch: with a kept graph, none is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.numbers import or_none
from cxrtool.core.origin import DRAWN
from cxrtool.core.packs import is_pack
from cxrtool.core.run_cards import RunCard, prevalence_remark, read_card, remarks, sampling_remark
from cxrtool.core.runs import RunFolder, named_run
from cxrtool.data.logits import probabilities_of
from cxrtool.data.provenance import TRAINED_ON_DRAWINGS, trained_on_drawings
from cxrtool.inference.engines.base import FASTEST, Compute, Engine, Pixels
from cxrtool.inference.engines.choose import load_engine
from cxrtool.networks.published_runs import run_of

if TYPE_CHECKING:
    from cxrtool.core.schemas import CertificateFacts, TriageFacts
    from cxrtool.evaluation.operating_points import Calibration
    from cxrtool.evaluation.triage import Triage

EXPORTED = ".onnx"

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """What a model says of images: (n, labels) each."""

    shown: Floats
    """Probabilities, calibrated where the model has a calibration."""
    logits: Floats
    """Of what the network says, not calibrated: what ranks are taken from."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A run or an exported model, ready to score; safe to be used from several threads."""

    name: str
    """Of the run, or of the exported model's file."""
    labels: tuple[str, ...]
    image_sizes: tuple[int, ...]
    """The squares that an image is squished to in turn; the last is the network's input."""
    raw_thresholds: dict[str, float | None]
    """Each label's, on the scale of what the network says."""
    calibration: "Calibration | None"
    """What is made of the probabilities before anybody sees them."""
    without: dict[str, str]
    """Why labels have no threshold, or one that says little."""
    triage: "Triage | None" = None
    """Two certified thresholds a label, on the scale of what the network says."""
    promises: tuple[str, ...] = ()
    """What is promised of its certified thresholds, and what that rests on, in words."""
    fingerprint: str
    """The SHA-256 of the weights, or of the exported file."""
    operating_point: str = ""
    """The rule that its thresholds were chosen by; empty where it is not known."""
    engine: Engine

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Each label's, on the scale of the probabilities that are shown."""
        if self.calibration is None:
            return self.raw_thresholds
        limits = [self.raw_thresholds[label] for label in self.labels]
        numbers = np.array([np.nan if limit is None else limit for limit in limits], np.float64)
        shown = self.calibration.of_thresholds(self.labels, numbers)
        return {
            label: or_none(float(limit)) for label, limit in zip(self.labels, shown, strict=True)
        }

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Both thresholds of each label's triage, on the scale of the probabilities shown."""
        if self.triage is None:
            return {}
        shown = self.triage.calibrated(self.calibration).limits
        return {label: (of.rule_out, of.rule_in) for label, of in shown.items()}

    @property
    def description(self) -> str:
        """What it computes with, in words."""
        return f"{self.engine.name} on {self.engine.device}, {self.engine.precision}"

    def submit(self, pixels: Pixels) -> Callable[[], Scores]:
        """Begin to score grey images (n, image_size, image_size); fetching the result waits."""
        pending = self.engine.submit(pixels)

        def fetch() -> Scores:
            logits = pending().astype(np.float64)
            scores = probabilities_of(logits)
            if self.calibration is not None:
                scores = self.calibration.of_scores(self.labels, scores)
            return Scores(scores, logits)

        return fetch

    def __call__(self, pixels: Pixels) -> Floats:
        """Probabilities (n, labels) of grey images (n, image_size, image_size)."""
        return self.submit(pixels)().shown


class ModelCard(Protocol):
    """What a run and an exported model both say of themselves."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """The squares that an image is squished to in turn."""

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Each label's, on the scale of what the network says."""

    @property
    def calibration(self) -> dict[str, Any] | None:
        """As it is stored."""

    @property
    def without(self) -> dict[str, str]:
        """Why labels have no threshold, or one that says little."""

    @property
    def operating_point(self) -> str:
        """The rule that its thresholds were chosen by."""

    @property
    def chosen_on(self) -> str:
        """The images that they were chosen on."""

    @property
    def family(self) -> str | None:
        """Of which promises certified ones are."""

    @property
    def certificates(self) -> "dict[str, CertificateFacts]":
        """What is known of certified thresholds."""

    @property
    def triage(self) -> "TriageFacts | None":
        """As it is stored."""


def load_model(
    runs: Path, given: str | None, compute: Compute = FASTEST, reporter: Reporter = SILENT
) -> Scorer:
    """The model that a user means: a run's name or path, an exported file, or the last run.

    Raises:
        RunError, UsageError: as `find_run`, `load_scorer`, `read_exported` and `load_exported`.
    """
    if given is None or not is_exported(runs, given):
        run = run_of(runs, given, reporter)
        own = read_card(run)
        remark = sampling_remark(run, own)
        for text in filter(None, (remark, prevalence_remark(run.name, own.calibration))):
            reporter.warn(text)
        return load_scorer(run, compute, reporter, own)
    from cxrtool.inference.engines.exported import load_exported, read_exported

    card = read_exported(Path(given))
    if not card.sealed:
        reporter.warn(
            f"{given} was exported by version 0.1, without a fingerprint of its labels and "
            "thresholds: whether they are as they were exported cannot be checked"
        )
    if (card.about.get("train_data") or {}).get("origin") == DRAWN:
        reporter.note(TRAINED_ON_DRAWINGS)
    if card.about.get("sampling_remark"):
        reporter.warn(str(card.about["sampling_remark"]))
    name = card.graph.path.name
    if moved := prevalence_remark(name, card.calibration):
        reporter.warn(moved)
    return _scorer(name, card, card.sha256, load_exported(card, compute, reporter))


def load_scorer(
    run: RunFolder,
    compute: Compute = FASTEST,
    reporter: Reporter = SILENT,
    card: RunCard | None = None,
) -> Scorer:
    """A finished run's network on an engine; `card` is the run's, where it was read before.

    Raises:
        RunError: a file of the run is missing or altered, or its weights do not fit.
        UsageError: this machine has no such device or engine.
    """
    card = card or read_card(run)
    for text in remarks(run, card):
        reporter.warn(text)
    if trained_on_drawings(run):
        reporter.note(TRAINED_ON_DRAWINGS)
    return _scorer(run.name, card, card.weights_sha256, load_engine(run, card, compute, reporter))


def is_exported(runs: Path, given: str | None) -> bool:
    """Whether a model that was named is a file and no run.

    A run comes before a file of its name in the folder where the user is, as `find_run` has it.
    """
    if given is None or named_run(runs, given) is not None or is_pack(given):
        return False
    return given.lower().endswith(EXPORTED) or Path(given).is_file()


def _scorer(name: str, card: ModelCard, fingerprint: str, engine: Engine) -> Scorer:
    return Scorer(
        name=name,
        labels=card.labels,
        image_sizes=card.image_sizes,
        raw_thresholds=card.thresholds,
        calibration=_calibration(card.calibration),
        without=card.without,
        triage=_triage(card.triage),
        promises=promises_of(card),
        fingerprint=fingerprint,
        operating_point=card.operating_point,
        engine=engine,
    )


def _calibration(stored: dict[str, Any] | None) -> "Calibration | None":
    if stored is None:
        return None
    from cxrtool.evaluation.operating_points import stored_calibration

    return stored_calibration(stored)


def promises_of(card: ModelCard) -> tuple[str, ...]:
    """What is promised of a model's certified thresholds, and what that rests on, in words."""
    if not card.certificates and card.triage is None:
        return ()
    from cxrtool.evaluation.thresholds import NO_FAMILY, condition_of, parse_rule

    found = []
    if card.certificates:
        rule = parse_rule(card.operating_point)
        found.append(condition_of(rule, card.chosen_on, card.family or NO_FAMILY))
    triage = _triage(card.triage)
    if triage is not None:
        out, into = triage.conditions
        found.append(f"rule-out: {out}; rule-in: {into}")
    return tuple(found)


def _triage(stored: "TriageFacts | None") -> "Triage | None":
    if stored is None:
        return None
    from cxrtool.evaluation.triage import stored_triage

    return stored_triage(stored)
