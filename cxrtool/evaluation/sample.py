"""What is scored: scores, and the truth that they are compared with, row by row.

Rows are images, or studies after `by_study`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.logits import mean_logits
from cxrtool.evaluation.metrics import Floats

AGGREGATES = ("mean", "max")
"""How a study's score is made of its images'."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Scores and the truth that they are compared with: n rows, C labels."""

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

    def column(self, at: int) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
        """One label's targets, scores and mask, (n,) each."""
        return self.targets[:, at], self.scores[:, at], self.mask[:, at]

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


def check_unit(unit: str, aggregate: str) -> None:
    """Refuse a way to put images together where studies are not scored.

    Raises:
        UsageError: it is given with images.
    """
    if unit == "image" and aggregate != AGGREGATES[0]:
        raise UsageError(f"--aggregate {aggregate} goes with --unit study")


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
    targets, mask = np.zeros((2, len(first), len(sample.labels)), bool)
    np.logical_or.at(mask, study, sample.mask)
    np.logical_or.at(targets, study, sample.targets & sample.mask)
    return replace(
        sample,
        keys=sample.studies[first],
        patients=sample.patients[first],
        studies=sample.studies[first],
        targets=targets,
        mask=mask,
        scores=combine_scores(sample.scores, study, len(first), aggregate),
        logits=None
        if sample.logits is None
        else combine_logits(sample.logits, study, len(first), aggregate),
        groups={name: _of_studies(of, study, first) for name, of in sample.groups.items()},
    )


def _of_studies(
    groups: NDArray[np.str_], study: NDArray[np.intp], first: NDArray[np.intp]
) -> NDArray[np.str_]:
    chosen = groups[first]
    mixed = np.bincount(study, groups != chosen[study]) > 0
    return np.where(mixed, "several", chosen)


def combine_scores(scores: Floats, studies: NDArray[np.int64], size: int, aggregate: str) -> Floats:
    """The scores of studies.

    Sums are rounded as they are added up: rows in another order may give other last digits.

    Args:
        scores: (n, C) of images.
        studies: (n,) each image's study, from 0; each has one.
        size: how many studies there are.
        aggregate: "mean" or "max".

    Returns:
        (size, C).
    """
    if aggregate == "max":
        return _greatest(scores, studies, size)
    total = np.zeros((size, scores.shape[1]))
    np.add.at(total, studies, scores)
    return total / np.bincount(studies)[:, None]


def combine_logits(logits: Floats, studies: NDArray[np.int64], size: int, aggregate: str) -> Floats:
    """The logits of what `combine_scores` makes of the probabilities of these logits."""
    if aggregate == "max":
        return _greatest(logits, studies, size)
    return mean_logits(logits, studies, size)


def _greatest(values: Floats, studies: NDArray[np.int64], size: int) -> Floats:
    greatest = np.full((size, values.shape[1]), -np.inf)
    np.maximum.at(greatest, studies, values)
    return greatest


def patients_of_classes(sample: Sample, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many patients have a positive and how many a negative row that counts: (2, C)."""
    _, patient_of = np.unique(sample.patients, return_inverse=True)
    classes = sample.targets & mask, ~sample.targets & mask
    counts = [[len(np.unique(patient_of[rows])) for rows in of_class.T] for of_class in classes]
    return np.array(counts, np.int64)


def measured(
    measure: Callable[..., float], sample: Sample, mask: NDArray[np.bool_] | None = None
) -> Floats:
    """A measure of ranking, such as `auroc`, of each label (C,); `mask` in place of its own."""
    masks = sample.mask if mask is None else mask
    columns = zip(sample.targets.T, sample.ranked.T, masks.T, strict=True)
    return np.array([measure(*column) for column in columns], np.float64)
