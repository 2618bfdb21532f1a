"""Results of evaluations from plain values, as JSON has them."""

from dataclasses import dataclass

from cxrtool.core.numbers import Estimate
from cxrtool.core.origin import Origin
from cxrtool.evaluation.calibration import Calibrator
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.references import OtherReference, Reference, References
from cxrtool.evaluation.result import (
    AppliedCalibration,
    CalibrationError,
    ClearGap,
    CompetitionMean,
    Difference,
    EvaluationResult,
    Gap,
    Gaps,
    Group,
    GroupScores,
    IntervalMethod,
    LabelScores,
    MeanDifference,
    PairedDifferences,
    Subgroups,
)
from cxrtool.evaluation.simultaneous import Simultaneous
from cxrtool.evaluation.thresholds import ChosenRule, parse_rule

ESTIMATES = (
    *("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1", "tpr", "fpr"),
    *("calibration_intercept", "calibration_slope", "target_ppv", "target_npv"),
)
ORIGIN = Origin(kind="own", description="those of truth.csv", registers=())


@dataclass(frozen=True, kw_only=True)
class GivenReference(Reference):
    """A figure of which is given what was measured, and over how many labels it is a mean."""

    parts: tuple[str, ...]
    over: int | None

    @property
    def measured(self):
        return self.parts

    @property
    def mean_over(self):
        return self.over


def scores_of(values, kind=LabelScores):
    """A label's figures; what is not given is not defined."""
    found = {name: values.get(name) for name in kind.__dataclass_fields__}
    for name in set(ESTIMATES) & set(found):
        found[name] = Estimate.of(values.get(name), values.get(f"{name}_ci"))
    return kind(**found)


def subgroups_of(values):
    """One column's groups."""
    return Subgroups(
        groups={
            name: Group(
                n=group["n"],
                patients=group["patients"],
                labels={
                    label: scores_of(one, GroupScores) for label, one in group["labels"].items()
                },
            )
            for name, group in values["groups"].items()
        },
        gaps={
            label: Gaps(
                **{
                    name: gap and Gap(**gap | {"ci": tuple(gap["ci"])})
                    for name, gap in gaps.items()
                }
            )
            for label, gaps in values["gaps"].items()
        },
        within=values["within"],
        clear=tuple(ClearGap(**gap | {"ci": tuple(gap["ci"])}) for gap in values.get("clear", ())),
        adjusted=values.get("adjusted") and Simultaneous(**values["adjusted"]),
    )


def reference_of(values):
    """A published figure, or such a figure made up."""
    if isinstance(values, Reference):
        return values
    given = dict.fromkeys(Reference.__dataclass_fields__)
    measured = tuple(part for part in values.get("what", "").split("; ") if part)
    found = {name: values[name] for name in given if name in values and name != "labels"}
    return GivenReference(
        **{**given, "where": "a page", **found}, parts=measured, over=values.get("labels")
    )


def other_of(values):
    """A figure that was measured otherwise."""
    if isinstance(values, OtherReference):
        return values
    return OtherReference(reference_of(values), values["why"])


def calibration_of(values):
    """What a calibration did."""
    before = {label: CalibrationError(**one) for label, one in values.get("before", {}).items()}
    labels = {label: Calibrator("platt", {}) for label in values.get("labels", {})}
    return AppliedCalibration(**{**values, "before": before, "labels": labels})


def result_of(values):
    """A whole result."""
    values = dict(values)
    references = values.pop("references")
    point, method, five = (
        values.pop(name) for name in ("operating_point", "intervals", "competition")
    )
    return EvaluationResult(
        run=values["run"],
        split=values["split"],
        protocol=Protocol(**values["protocol"] | {"views": tuple(values["protocol"]["views"])}),
        data=values.get("data", ORIGIN),
        unit=values["unit"],
        aggregate=values.get("aggregate"),
        n=values["n"],
        patients=values["patients"],
        operating_point=point
        and ChosenRule(**{"edited": (), **point, "rule": parse_rule(point["rule"])}),
        calibration=calibration_of(values["calibration"]) if values.get("calibration") else None,
        intervals=method and IntervalMethod(**method),
        mean_auroc=Estimate.of(values["mean_auroc"], values.get("mean_auroc_ci")),
        defined=values["defined"],
        mean_auroc_supported=Estimate.of(
            values.get("mean_auroc_supported"), values.get("mean_auroc_supported_ci")
        ),
        supported=values.get("supported", values["defined"]),
        mean_auprc=Estimate.of(values.get("mean_auprc"), values.get("mean_auprc_ci")),
        competition=five
        and CompetitionMean(
            labels=tuple(five["labels"]),
            mean_auroc=Estimate.of(five["mean_auroc"], five["mean_auroc_ci"]),
            defined=five["defined"],
        ),
        labels={label: scores_of(one) for label, one in values["labels"].items()},
        subgroups={name: subgroups_of(one) for name, one in values.get("subgroups", {}).items()},
        references=References(
            same=tuple(map(reference_of, references["same"])),
            other=tuple(map(other_of, references["other"])),
        ),
        warnings=tuple(values.get("warnings", ())),
    )


def made_differences(run, baseline, labels, mean=(None, None)):
    """One run less a baseline: an AUROC's difference and its interval for each label."""

    def apart(value, ends):
        return {"auroc": Estimate.of(value, ends), "auprc": Estimate()}

    return PairedDifferences(
        run=run,
        baseline=baseline,
        mean=MeanDifference(defined=len(labels), **apart(*mean)),
        competition=None,
        labels={
            label: Difference(**apart(*one), auroc_adjusted=apart(*one)["auroc"].interval)
            for label, one in labels.items()
        },
    )
