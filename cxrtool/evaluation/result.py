"""What an evaluation found, in types; `as_json` is what `evaluate --json` prints of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import Estimate, Interval
from cxrtool.core.origin import Origin
from cxrtool.evaluation.calibration import Calibrator
from cxrtool.evaluation.calibration_measures import CalibrationCurve
from cxrtool.evaluation.certificates import Certificate
from cxrtool.evaluation.delong import AreaDifference
from cxrtool.evaluation.human_readers import HumanReaders
from cxrtool.evaluation.net_benefit import DecisionCurve
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.references import References
from cxrtool.evaluation.robustness import Robustness
from cxrtool.evaluation.simultaneous import Simultaneous
from cxrtool.evaluation.thresholds import ChosenRule
from cxrtool.evaluation.verdicts import TriageScores

NO_ESTIMATE = Estimate()


@dataclass(frozen=True, kw_only=True)
class LabelScores(JsonResult):
    """One label's figures; None where the data do not define one."""

    auroc: Estimate
    auprc: Estimate
    threshold: float | None
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: Estimate
    brier: float | None
    ece: float | None
    """This and `brier`: None, too, for scores that are no probabilities."""
    calibration_intercept: Estimate
    calibration_slope: Estimate
    """Of `calibration_measures`: 0 and 1 are best."""
    prevalence: float | None
    n: int
    positives: int
    positive_patients: int
    negative_patients: int | None = None
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None
    tn: int | None = None
    """The 2x2 counts of rows at the threshold; None without one."""
    too_few: bool = False
    """Fewer than `LEAST_PATIENTS` patients of a class: too few to lean on any of it."""
    target_prevalence: float | None
    """The prevalence of another place that probabilities are moved to (`--prevalence`)."""
    target_ppv: Estimate
    target_npv: Estimate
    """What PPV and NPV are there, by sensitivity and specificity as they are here."""


@dataclass(frozen=True, kw_only=True)
class GroupScores(JsonResult):
    """One label's figures in one group."""

    n: int
    positives: int
    prevalence: float | None
    auroc: Estimate
    too_few: bool
    """Fewer than `LEAST_PATIENTS` patients of a class: too small a group to say anything."""
    tpr: Estimate
    fpr: Estimate


@dataclass(frozen=True, kw_only=True)
class Group(JsonResult):
    """One group of rows, and its figures label by label."""

    n: int
    patients: int
    labels: Mapping[str, GroupScores]


@dataclass(frozen=True, kw_only=True)
class Gap(JsonResult):
    """The difference between the highest and the lowest group."""

    gap: float
    ci: Interval
    """It holds together with those of all pairs of groups, labels and measures of the evaluation,
    so that it may be read after looking for the largest."""
    highest: str
    lowest: str

    @property
    def size(self) -> Estimate:
        """The difference and its interval."""
        return Estimate(self.gap, self.ci)


@dataclass(frozen=True, kw_only=True)
class ClearGap(Gap):
    """A gap between any two groups whose interval is clear of 0."""

    measure: str
    """`auroc`, `tpr` or `fpr`."""
    label: str


@dataclass(frozen=True, kw_only=True)
class Gaps(JsonResult):
    """A label's largest gaps among groups that are not too small; None with fewer than two."""

    auroc: Gap | None = None
    tpr: Gap | None = None
    fpr: Gap | None = None


@dataclass(frozen=True, kw_only=True)
class Subgroups(JsonResult):
    """The groups of one column."""

    groups: Mapping[str, Group]
    gaps: Mapping[str, Gaps]
    """Of each label."""
    within: Mapping[str, float | None]
    """Of each label, the AUROC among pairs of a positive and a negative of the same group: what
    is left when the group itself tells nothing."""
    clear: tuple[ClearGap, ...] = ()
    """What may be said: the gaps that are clear of 0, surest first."""
    adjusted: Simultaneous | None = None
    """How the gaps' intervals were made, for all columns together; None: no intervals."""


@dataclass(frozen=True, kw_only=True)
class CompetitionMean(JsonResult):
    """The mean over those of the CheXpert competition's five labels that were scored."""

    labels: tuple[str, ...]
    mean_auroc: Estimate
    defined: int


@dataclass(frozen=True)
class CalibrationError(JsonResult):
    """How far one label's probabilities are from what comes true."""

    brier: float | None
    ece: float | None


@dataclass(frozen=True, kw_only=True)
class AppliedCalibration(JsonResult):
    """The calibration of the scores, and what the probabilities were like before it."""

    method: str
    chosen_on: str
    left_out: Mapping[str, str]
    """Why labels were not calibrated."""
    before: Mapping[str, CalibrationError]
    labels: Mapping[str, Calibrator]
    moved_to: Mapping[str, float] = field(default_factory=dict)
    """The prevalence that labels' probabilities were moved to after it."""


@dataclass(frozen=True, kw_only=True)
class IntervalMethod(JsonResult):
    """How the intervals were made."""

    level: float
    resampled: str
    replicates: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(JsonResult):
    """The scores of a run on a part of the split, or of a table of predictions."""

    run: str
    """Whose scores they are."""
    split: str | None
    """The part that they are scores on; None for a table."""
    protocol: Protocol
    data: Origin
    """Where the images are from."""
    unit: str
    """Whether a row is an `image` or a `study`."""
    aggregate: str | None
    """How a study's score was made of its images'; None where it was not."""
    n: int
    patients: int
    operating_point: ChosenRule | None
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """What is known of each certified threshold; empty where none is."""
    triage: TriageScores | None = None
    calibration: AppliedCalibration | None
    intervals: IntervalMethod | None
    mean_auroc: Estimate
    defined: int
    """Over how many labels the means are."""
    mean_auprc: Estimate
    competition: CompetitionMean | None
    labels: Mapping[str, LabelScores]
    subgroups: Mapping[str, Subgroups]
    """By the column that the groups are of."""
    references: References
    warnings: tuple[str, ...]
    calibration_curves: Mapping[str, CalibrationCurve] = field(default_factory=dict)
    """Of each label that has enough patients for one."""
    decision_curves: Mapping[str, DecisionCurve] = field(default_factory=dict)
    """Of each label whose scores are probabilities: net benefit."""
    divided: int | None = None
    """How many label values of images are left out because readers are evenly divided; None:
    labels are no shares of readers."""
    readers: HumanReaders | None = None
    """Human readers beside the model; None where no table of them was given."""
    robustness: Robustness | None = None
    """What mild changes of the images do; None where that was not asked for."""
    written: tuple[Path, ...] = ()
    """The files that were written; the page, if there is one, first."""
    mean_auroc_supported: Estimate = NO_ESTIMATE
    """The mean without the labels that have too few patients of a class."""
    supported: int = 0
    """Over how many labels that is."""

    @property
    def undefined(self) -> tuple[str, ...]:
        """The labels of which a class is missing."""
        return tuple(name for name, one in self.labels.items() if one.auroc.value is None)

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it and metrics/<split>.json holds it."""
        found = super().as_json() | {"data": self.data.for_readers()}
        del found["written"]
        for name in ("divided", "readers", "robustness", "certificates", "triage"):
            if found[name] in (None, {}):
                del found[name]
        return found


@dataclass(frozen=True, kw_only=True)
class Difference(JsonResult):
    """How much higher one model scores than another on a label."""

    auroc: Estimate
    """With its interval by itself, from the draws of patients, as `auprc`."""
    auprc: Estimate
    auroc_p: float | None = None
    """The p-value that belongs to the interval."""
    auroc_adjusted: Interval = None
    """The interval that holds together with those of all labels, as `auprc_adjusted`; a label is
    said to differ only where it is clear of 0."""
    auprc_adjusted: Interval = None
    delong: AreaDifference | None = None
    """The same difference of AUROC by DeLong's method over patients, by itself."""


@dataclass(frozen=True, kw_only=True)
class MeanDifference(JsonResult):
    """The same of means over the labels that are defined."""

    defined: int
    auroc: Estimate
    auprc: Estimate


@dataclass(frozen=True, kw_only=True)
class PairedDifferences(JsonResult):
    """One run less a baseline, on the same rows, truth and draws of patients."""

    run: str
    baseline: str
    mean: MeanDifference
    competition: MeanDifference | None
    """Over those of the CheXpert competition's labels that both have."""
    labels: Mapping[str, Difference]
    adjusted: Simultaneous | None = None
    """How the labels' adjusted intervals of AUROC were made; those of AUPRC likewise by
    themselves."""
