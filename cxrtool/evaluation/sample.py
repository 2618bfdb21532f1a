"""What scores are worth against truth: every figure of every label, with intervals over patients.

A `Sample` is what is scored; rows are images, or studies after `by_study`. Figures are plain JSON
values: None where the data do not define them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import DataError
from cxrtool.data.logits import mean_logits
from cxrtool.evaluation.bootstrap import Draws, Rankings, bootstrap_rankings, bootstrap_sums
from cxrtool.evaluation.intervals import (
    area_interval,
    bootstrap_interval,
    mean_freedom,
    share_interval,
)
from cxrtool.evaluation.metrics import auprc, auroc, mean_defined
from cxrtool.evaluation.reliability import brier_score, expected_calibration_error

Floats = NDArray[np.float64]

COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five labels of the CheXpert competition (Irvin et al. 2019, section 4.2)."""
INTERVALS = {"auroc": area_interval, "auprc": bootstrap_interval}
OUTCOMES = ("tp", "fp", "tn", "fn")
RATES = {
    "sensitivity": (("tp",), ("tp", "fn")),
    "specificity": (("tn",), ("tn", "fp")),
    "ppv": (("tp",), ("tp", "fp")),
    "npv": (("tn",), ("tn", "fn")),
}
"""Each rate as a share: of which outcomes, among which."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Scores and the truth they are held against: n rows, C labels."""

    labels: tuple[str, ...]
    keys: NDArray[np.str_]
    """(n,) paths, or studies."""
    patients: NDArray[np.str_]
    studies: NDArray[np.str_]
    """(n,) each row's study; empty strings where it is not known."""
    targets: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    scores: Floats
    logits: Floats | None = None
    """(n, C) before any calibration, which changes no rank; None where only scores are known."""
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """Of each column of subgroups, (n,) the group that each row is in."""

    @property
    def probabilities(self) -> bool:
        """Whether every score that counts can be a probability."""
        counted = self.scores[self.mask]
        return bool(((counted >= 0) & (counted <= 1)).all())

    @property
    def ranked(self) -> Floats:
        """(n, C): what rows are ranked by. Logits differ where probabilities are all but 0 or 1."""
        return self.scores if self.logits is None else self.logits

    def choose(self, labels: Sequence[str]) -> "Sample":
        """The same rows with some of the labels, in that order."""
        columns = [self.labels.index(label) for label in labels]
        return replace(
            self,
            labels=tuple(labels),
            targets=self.targets[:, columns],
            mask=self.mask[:, columns],
            scores=self.scores[:, columns],
            logits=None if self.logits is None else self.logits[:, columns],
        )


def by_study(sample: Sample, aggregate: str) -> Sample:
    """One row a study: the mean or the greatest of its images' scores.

    A label that counts on one image counts for the study, and is positive if it is so on any.
    Where a study's images are of several groups, it is in the group `several`.

    Raises:
        DataError: rows whose study is not known.
    """
    unknown = sample.studies == ""
    if unknown.any():
        raise DataError(
            f"{unknown.sum()} of {len(unknown)} images name no study: "
            "give study_id in the table, or score --unit image"
        )
    # Two patients may both have a `study1`.
    both = np.char.add(np.char.add(sample.patients, "\n"), sample.studies)
    _, first, study = np.unique(both, return_index=True, return_inverse=True)
    shape = (len(first), len(sample.labels))
    targets, mask = np.zeros(shape, bool), np.zeros(shape, bool)
    np.logical_or.at(mask, study, sample.mask)
    np.logical_or.at(targets, study, sample.targets & sample.mask)
    scores = np.full(shape, -np.inf) if aggregate == "max" else np.zeros(shape)
    if aggregate == "max":
        np.maximum.at(scores, study, sample.scores)
    else:
        np.add.at(scores, study, sample.scores)
        scores /= np.bincount(study)[:, None]
    return replace(
        sample,
        keys=sample.studies[first],
        patients=sample.patients[first],
        studies=sample.studies[first],
        targets=targets,
        mask=mask,
        scores=scores,
        logits=_of_groups(sample.logits, study, len(first), aggregate),
        groups={name: _of_studies(of, study, first) for name, of in sample.groups.items()},
    )


def _of_groups(
    logits: Floats | None, study: NDArray[np.intp], size: int, aggregate: str
) -> Floats | None:
    """The logits of the studies' probabilities."""
    if logits is None:
        return None
    if aggregate != "max":
        return mean_logits(logits, study, size)
    highest = np.full((size, logits.shape[1]), -np.inf)
    np.maximum.at(highest, study, logits)
    return highest


def _of_studies(
    groups: NDArray[np.str_], study: NDArray[np.intp], first: NDArray[np.intp]
) -> NDArray[np.str_]:
    chosen = groups[first]
    mixed = np.zeros(len(first), bool)
    np.logical_or.at(mixed, study, groups != chosen[study])
    return np.where(mixed, "several", chosen)


def assess(sample: Sample, thresholds: Floats, draws: Draws | None) -> dict[str, Any]:
    """All figures of a sample, but those of subgroups.

    Args:
        sample: of n rows and C labels.
        thresholds: (C,) a score at or over it is positive; NaN for none.
        draws: of the sample's patients; None: no intervals.

    Returns:
        `n, patients, mean_auroc, mean_auroc_ci, defined, mean_auprc, mean_auprc_ci, competition`
        (the same of the competition's five labels; None where the sample has none of them) and
        `labels`, a dictionary of figures each.

    Raises:
        DataError: a score that counts is not finite.
    """
    ranked = None if draws is None else bootstrap_rankings(*_arrays(sample), draws)
    points = _Points(sample, ranked)
    rates = _rates(sample, thresholds, draws)
    labels = {}
    for column, label in enumerate(sample.labels):
        positive, mask = sample.targets[:, column], sample.mask[:, column]
        threshold = float(thresholds[column])
        labels[label] = {
            **points.of(column),
            "threshold": json_number(threshold),
            **rates[column],
            **_calibration(sample, column),
            "prevalence": json_number(_share(positive & mask, mask)),
            "n": int(mask.sum()),
            "positives": int((positive & mask).sum()),
            "positive_patients": int(points.patients[0][column]),
        }
    five = [column for column, name in enumerate(sample.labels) if name in COMPETITION]
    return {
        "n": len(sample.keys),
        "patients": len(np.unique(sample.patients)),
        **points.mean(range(len(sample.labels))),
        "competition": {
            "labels": [sample.labels[column] for column in five],
            **{key: value for key, value in points.mean(five).items() if "auprc" not in key},
        }
        if five
        else None,
        "labels": labels,
    }


def json_number(value: float) -> float | None:
    """A figure for JSON: None where it is not defined."""
    return None if np.isnan(value) else float(value)


def json_interval(ends: Floats) -> list[float] | None:
    """An interval for JSON: None where it is not defined."""
    return None if np.isnan(ends).any() else [float(end) for end in ends]


def patients_of_classes(sample: Sample, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many patients have a positive and how many a negative row that counts: (2, C)."""
    _, patient_of = np.unique(sample.patients, return_inverse=True)
    out = np.zeros((2, mask.shape[1]), np.int64)
    for row, of_class in enumerate((sample.targets & mask, ~sample.targets & mask)):
        for column in range(mask.shape[1]):
            out[row, column] = len(np.unique(patient_of[of_class[:, column]]))
    return out


def _arrays(sample: Sample) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    return sample.targets, sample.ranked, sample.mask


class _Points:
    """AUROC and AUPRC of each label with their intervals, and their means over labels."""

    def __init__(self, sample: Sample, replicates: Rankings | None) -> None:
        columns = list(zip(sample.targets.T, sample.ranked.T, sample.mask.T, strict=True))
        self.values = {
            "auroc": np.array([auroc(*column) for column in columns]),
            "auprc": np.array([auprc(*column) for column in columns]),
        }
        self.replicates = replicates._asdict() if replicates is not None else {}
        self.patients = patients_of_classes(sample, sample.mask)
        self.freedom = self.patients.min(axis=0) - 1.0
        self.intervals = {
            name: INTERVALS[name](drawn, self.values[name], self.freedom)
            for name, drawn in self.replicates.items()
        }

    def of(self, column: int) -> dict[str, Any]:
        """One label's areas and their intervals."""
        figures: dict[str, Any] = {}
        for name, values in self.values.items():
            ends = self.intervals[name][column] if self.intervals else np.full(2, np.nan)
            figures[name] = json_number(float(values[column]))
            figures[f"{name}_ci"] = json_interval(ends)
        return figures

    def mean(self, columns: Sequence[int]) -> dict[str, Any]:
        """Means over those of the columns that are defined, and how many these are."""
        chosen = [column for column in columns if not np.isnan(self.values["auroc"][column])]
        found: dict[str, Any] = {}
        for name, values in self.values.items():
            mean, defined = mean_defined([float(values[column]) for column in chosen])
            found |= {f"mean_{name}": json_number(mean), f"mean_{name}_ci": None}
            found["defined"] = defined
            if chosen and self.replicates:
                drawn = self.replicates[name][:, chosen]
                freedom = mean_freedom(drawn, self.freedom[chosen])
                # A draw without one of the labels has no mean over the same labels.
                means = drawn.mean(axis=1, keepdims=True)
                found[f"mean_{name}_ci"] = json_interval(
                    INTERVALS[name](means, [mean], [freedom])[0]
                )
        return found


def outcomes(sample: Sample, thresholds: Floats, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Which rows are true and false positives and negatives: (n, C) each, False where masked.

    A label without a threshold has none of the four.
    """
    counts = mask & ~np.isnan(thresholds)
    called = np.greater_equal(sample.scores, thresholds)  # NaN is at or over nothing
    return {
        "tp": counts & called & sample.targets,
        "fp": counts & called & ~sample.targets,
        "tn": counts & ~called & ~sample.targets,
        "fn": counts & ~called & sample.targets,
    }


def _rates(sample: Sample, thresholds: Floats, draws: Draws | None) -> list[dict[str, Any]]:
    """The rates at each label's threshold, and F1, with their intervals."""
    rows = outcomes(sample, thresholds, sample.mask)
    totals = {name: of.sum(axis=0).astype(float) for name, of in rows.items()}
    drawn = None if draws is None else drawn_counts(rows, draws)
    found: list[dict[str, Any]] = [{} for _ in sample.labels]
    for name, (part, whole) in RATES.items():
        among = np.logical_or.reduce([rows[kind] for kind in whole])
        values, ends = rate_with_interval(part, whole, totals, drawn, among, sample.patients)
        for column, figures in enumerate(found):
            figures[name] = json_number(float(values[column]))
            figures[f"{name}_ci"] = json_interval(ends[column])
    f1, ends = _f1(totals, drawn, sample, rows)
    for column, figures in enumerate(found):
        figures["f1"] = json_number(float(f1[column]))
        figures["f1_ci"] = json_interval(ends[column])
    return found


def drawn_counts(rows: Mapping[str, NDArray[np.bool_]], draws: Draws) -> dict[str, Floats]:
    """The counts of each outcome in each draw of patients: (replicates, C) each."""
    sums = bootstrap_sums(np.hstack(list(rows.values())), draws)
    return dict(zip(rows, np.hsplit(sums, len(rows)), strict=True))


def rate_with_interval(
    part: Sequence[str],
    whole: Sequence[str],
    totals: Mapping[str, Floats],
    drawn: Mapping[str, Floats] | None,
    among: NDArray[np.bool_],
    patients: NDArray[np.str_],
) -> tuple[Floats, Floats]:
    """A rate (C,) and its interval (C, 2).

    `among` (n, C) are the rows that it is a share of; without `drawn` the interval is NaN.
    """
    values = _divide(sum(totals[name] for name in part), sum(totals[name] for name in whole))
    if drawn is None:
        return values, np.full((len(values), 2), np.nan)
    shares = _divide(sum(drawn[name] for name in part), sum(drawn[name] for name in whole))
    whom = [len(np.unique(patients[rows])) for rows in among.T]
    return values, share_interval(values, shares, among.sum(axis=0), whom)


def _f1(
    totals: Mapping[str, Floats],
    drawn: Mapping[str, Floats] | None,
    sample: Sample,
    rows: Mapping[str, NDArray[np.bool_]],
) -> tuple[Floats, Floats]:
    def of(counts: Mapping[str, Floats]) -> Floats:
        return _divide(2 * counts["tp"], 2 * counts["tp"] + counts["fp"] + counts["fn"])

    values = of(totals)
    if drawn is None:
        return values, np.full((len(values), 2), np.nan)
    positive = rows["tp"] | rows["fn"]
    freedom = [len(np.unique(sample.patients[column])) - 1.0 for column in positive.T]
    return values, bootstrap_interval(of(drawn), values, freedom)


def _divide(part: Any, whole: Any) -> Floats:
    out = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


def _calibration(sample: Sample, column: int) -> dict[str, Any]:
    """How far probabilities are from what comes true; None for scores that are none."""
    of_label = (array[:, column] for array in (sample.targets, sample.scores, sample.mask))
    positive, score, mask = of_label
    if not sample.probabilities or not mask.any():
        return {"brier": None, "ece": None}
    return {
        "brier": json_number(brier_score(positive, score, mask)),
        "ece": json_number(expected_calibration_error(positive, score, mask)),
    }
