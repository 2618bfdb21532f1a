"""An evaluation in a sentence."""

from cxrtool.core.errors import counted
from cxrtool.core.numbers import Estimate, interval, number
from cxrtool.evaluation.result import EvaluationResult


def summary_of(result: EvaluationResult) -> str:
    """The page in a sentence."""
    return summary(
        result.mean_auroc,
        defined=result.defined,
        labels=len(result.labels),
        n=result.n,
        unit=result.unit,
        patients=result.patients,
        level=result.intervals.level if result.intervals else None,
    )


def summary(
    mean: Estimate,
    *,
    defined: int,
    labels: int,
    n: int,
    unit: str,
    patients: int | None,
    level: float | None,
) -> str:
    """An evaluation in a sentence: mean AUROC, over how many labels, images and patients."""
    over = counted(n, unit) + ("" if patients is None else f" of {counted(patients, 'patient')}")
    if mean.value is None:
        return f"No AUROC is defined: 0 of {counted(labels, 'label')}, {over}."
    ends = interval(mean.interval, between=" to ")
    within = f" ({level_text(level)} interval {ends})" if ends else ""
    over_labels = f"{defined} of {labels} labels" if labels > 1 else "1 label"
    return f"Mean AUROC {number(mean.value)}{within} over {over_labels}, {over}."


def level_text(level: float | None) -> str:
    """An interval's level as `95 %`; nothing where there are no intervals."""
    return "" if level is None else f"{100 * level:.3g} %"
