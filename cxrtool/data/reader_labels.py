"""Images in several rows, as of several readers: one row each, with what the readers say together.

Labels are 1 (positive), 0 (negative), -1 (uncertain) and NaN (not mentioned, no answer); all but
NaN are answers. What a reader did not answer counts under no rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import READERS
from cxrtool.core.errors import DataError, UsageError, counted, first_few, unknown_name
from cxrtool.core.json_files import JsonResult
from cxrtool.data.labels import MAJORITY, NEGATIVE, POSITIVE, UNCERTAIN
from cxrtool.data.manifest import label_columns
from cxrtool.data.problems import Problems

DECIMALS = 3
"""Of a share of readers: what the manifest holds is what is trained on."""
DISAGREE = "readers disagree"
"""The kind of problem that a rule has settled: it is listed, and nothing is wrong."""
ANSWERS = {POSITIVE: "positive", NEGATIVE: "negative", UNCERTAIN: "uncertain"}
DESCRIBED = ("view", "orientation", "sex", "age", "source")
"""What rows of one image should say alike. Studies often have names of our own, after the path."""
Answers = NDArray[np.int64]
"""(images, labels) how many readers give one answer."""
Labels = NDArray[np.float32]
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class ReaderCounts(JsonResult):
    """One label's images."""

    several: int
    """At least two readers answer."""
    disagree: int
    """Their answers differ."""
    undecided: int
    """The rule decides nothing: uncertain, or a share of exactly one half."""


@dataclass(frozen=True, kw_only=True)
class ReaderSummary(JsonResult):
    """What a rule found in all rows that could be read, whatever their view."""

    rule: str
    rows: int
    images: dict[str, int]
    """How many images have so many readers, the fewest first."""
    labels: dict[str, ReaderCounts]


@dataclass(frozen=True)
class _Groups:
    """The rows of images that have several."""

    rows: NDArray[np.intp]
    """(m,) those of one image together, in the table's order."""
    starts: NDArray[np.intp]
    """(images,) where in `rows` each image begins."""

    @classmethod
    def of(cls, images: NDArray[np.intp]) -> "_Groups":
        """Of each row's image (n,), a number from 0."""
        several = np.bincount(images) > 1 if len(images) else np.zeros(0, bool)
        rows = np.flatnonzero(several[images])
        rows = rows[np.argsort(images[rows], kind="stable")]
        return cls(rows, np.flatnonzero(np.diff(images[rows], prepend=-1)))

    @property
    def first(self) -> NDArray[np.intp]:
        """(images,) each image's first row."""
        return self.rows[self.starts]

    def spread(self, values: NDArray[Kind]) -> NDArray[Kind]:
        """A value an image (images, ...) for each of its rows (m, ...)."""
        return np.repeat(values, np.diff(self.starts, append=len(self.rows)), axis=0)

    def differ(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(images, ...) whether an image's rows differ in values of all rows (n, ...).

        NaN is no different from NaN.
        """
        own, first = values[self.rows], self.spread(values[self.first])
        unlike = (own != first) & ~((own != own) & (first != first))
        return np.logical_or.reduceat(unlike, self.starts) if len(self.rows) else unlike


def one_row_an_image(
    rows: pd.DataFrame,
    rule: str | None,
    readers: "pd.Series[str] | None",
    problems: Problems,
    where: str,
) -> tuple[pd.DataFrame, ReaderSummary | None]:
    """Make one row of an image that has several; only these rows are touched.

    Args:
        rows: a manifest's, in which a `path` may occur several times.
        rule: one of `READERS`; None: rows of one image have to agree.
        readers: (rows,) who gave each row's labels, blank where that is not known; None: every
            row of an image is another reader's.
        problems: rows that are left out, and what differs.
        where: the tables' names.

    Returns:
        The rows, each image at the place of its first one; and what the rule found.

    Raises:
        DataError: without a rule, rows of one image have different labels.
        UsageError: no such rule.
    """
    if rule is not None and rule not in READERS:
        raise UsageError(unknown_name("--readers", rule, READERS))
    images = pd.factorize(rows["path"])[0]
    keep = _of_one_patient(rows, _Groups.of(images), problems)
    if rule is not None and readers is not None:
        keep &= _one_answer_a_reader(rows, images, readers, keep, problems)
    if not keep.all():
        rows, images = rows[keep].reset_index(drop=True), pd.factorize(images[keep])[0]
    groups = _Groups.of(images)
    _note_differences(rows, groups, problems)
    later = np.zeros(len(rows), bool)
    later[groups.rows], later[groups.first] = True, False
    if rule is None:
        _refuse_contradictions(rows, groups, where)
        problems.add("duplicate path", rows["path"][later].tolist(), "kept once", kept=False)
        return rows[~later].reset_index(drop=True), None
    labels = label_columns(rows)
    counts = _counts(rows[labels].iloc[groups.rows].to_numpy(dtype=np.float32), groups)
    combined = RULES[rule](*counts)
    _note_disagreements(rows, groups, counts, labels, problems)
    summary = _summary(rule, images, labels, counts, combined)
    rows = rows.copy()
    rows.iloc[groups.first, rows.columns.get_indexer(pd.Index(labels))] = combined
    return rows[~later].reset_index(drop=True), summary


def _of_one_patient(rows: pd.DataFrame, groups: _Groups, problems: Problems) -> NDArray[np.bool_]:
    """(rows,) False for those of an image that is two patients': nobody knows whose it is."""
    keep = np.ones(len(rows), bool)
    if "patient_id" not in rows.columns or not len(groups.rows):
        return keep
    two = groups.differ(pd.factorize(rows["patient_id"])[0])
    keep[groups.rows[groups.spread(two)]] = False
    paths = rows["path"].to_numpy()[groups.first[two]]
    problems.add("two patients", paths.tolist(), "rows of one image name several", kept=False)
    return keep


def _one_answer_a_reader(
    rows: pd.DataFrame,
    images: NDArray[np.intp],
    readers: "pd.Series[str]",
    keep: NDArray[np.bool_],
    problems: Problems,
) -> NDArray[np.bool_]:
    """(rows,) False for what a reader says of an image again, or says otherwise."""
    kept = np.ones(len(rows), bool)
    several = _Groups.of(images).rows
    several = several[keep[several] & readers.ne("").to_numpy(dtype=bool)[several]]
    names = pd.factorize(readers.iloc[several])[0]
    pairs = images[several] * (names.max(initial=0) + 1) + names
    groups = _Groups.of(pd.factorize(pairs)[0])
    if not len(groups.rows):
        return kept
    values = rows[label_columns(rows)].to_numpy(dtype=np.float32)[several]
    unlike = np.asarray(groups.differ(values).any(axis=1))
    later = np.ones(len(groups.rows), bool)
    later[groups.starts] = False
    against = groups.spread(unlike)
    kept[several[groups.rows[later | against]]] = False
    paths = (rows["path"] + ", " + readers).to_numpy()[several]
    twice = paths[groups.rows[later & ~against]].tolist()
    problems.add("reader twice", twice, "the same labels again", kept=False)
    problems.add(
        "reader contradicts",
        paths[groups.first[unlike]].tolist(),
        "different labels of one image: none of them counts",
        kept=False,
    )
    return kept


def _note_differences(rows: pd.DataFrame, groups: _Groups, problems: Problems) -> None:
    """Note where rows of one image differ in what is no label: the first row's stays."""
    if not len(groups.rows):
        return
    for column in (name for name in DESCRIBED if name in rows.columns):
        other = groups.differ(pd.factorize(rows[column])[0])
        paths = rows["path"].to_numpy()[groups.first[other]].tolist()
        problems.add(f"{column} differs", paths, "between an image's rows: the first's", kept=True)


def _refuse_contradictions(rows: pd.DataFrame, groups: _Groups, where: str) -> None:
    labels = label_columns(rows)
    told = _contradictions(rows["path"], rows[labels].to_numpy(dtype=np.float32), labels, groups)
    if told:
        raise DataError(
            f"{where}: {counted(len(told), 'image')} in several rows with different labels "
            f"({first_few(told)}): say what they become with `cxrtool prepare DATA --readers "
            "RULE`, where RULE is vote (the answer of most readers), any, all or soft (the share "
            "of readers who say 1), or correct the table"
        )


def refuse_different_labels(
    names: "pd.Series[str]", values: Labels, labels: Sequence[str], table: Path
) -> None:
    """Refuse a table of labels alone that says two things of one image or study.

    Args:
        names: (n,) of images or studies, in any writing in which equal ones are the same.
        values: (n, labels).
        labels: their names.
        table: the file.

    Raises:
        DataError: it names some.
    """
    told = _contradictions(names, values, labels, _Groups.of(pd.factorize(names)[0]))
    if told:
        raise DataError(
            f"{table}: {counted(len(told), 'name')} in several rows with different labels "
            f"({first_few(told)}): remove all but one row of each"
        )


def _contradictions(
    names: "pd.Series[str]", values: Labels, labels: Sequence[str], groups: _Groups
) -> list[str]:
    """What has rows that differ, and in which labels."""
    differ = groups.differ(values)
    bad = np.asarray(differ.any(axis=1))
    called = np.array(labels, dtype=object)
    first = names.to_numpy()[groups.first[bad]]
    pairs = zip(first, differ[bad], strict=True)
    return [f"{name} ({first_few(called[of])})" for name, of in pairs]


def _counts(values: Labels, groups: _Groups) -> tuple[Answers, Answers, Answers]:
    """How many readers of each image with several rows say positive, negative and uncertain.

    `values` (m, labels) are the groups' rows.
    """
    if not len(values):
        nobody = np.zeros(values.shape, np.int64)
        return nobody, nobody, nobody
    of = [np.add.reduceat(values == answer, groups.starts, dtype=np.int64) for answer in ANSWERS]
    return of[0], of[1], of[2]


def _vote(positive: Answers, negative: Answers, uncertain: Answers) -> Labels:
    """The answer of most readers; uncertain where two answers are as frequent."""
    most = np.maximum(np.maximum(positive, negative), uncertain)
    first = [count == most for count in (positive, negative, uncertain)]
    alone = np.add.reduce(first, dtype=int) == 1
    said = np.select([alone & first[0], alone & first[1]], [POSITIVE, NEGATIVE], UNCERTAIN)
    return _answered(said, most)


def _any(positive: Answers, negative: Answers, uncertain: Answers) -> Labels:
    """Positive where any reader says so, else uncertain where any is."""
    said = np.select([positive > 0, uncertain > 0], [POSITIVE, UNCERTAIN], NEGATIVE)
    return _answered(said, positive + negative + uncertain)


def _all(positive: Answers, negative: Answers, uncertain: Answers) -> Labels:
    """Positive where all who answer say so; negative where any says so, else uncertain."""
    said = np.select([negative > 0, uncertain > 0], [NEGATIVE, UNCERTAIN], POSITIVE)
    return _answered(said, positive + negative + uncertain)


def _soft(positive: Answers, negative: Answers, uncertain: Answers) -> Labels:
    """The share of the readers who answer that say positive; one who is uncertain is half one."""
    total = positive + negative + uncertain
    share = (positive + uncertain / 2) / np.maximum(total, 1)
    # Rounded, but never to one half, which would mean something else.
    rounded = np.where(share == MAJORITY, share, _off_one_half(share))
    return _answered(rounded, total)


def _off_one_half(share: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = share.round(DECIMALS)
    step = np.copysign(10.0**-DECIMALS, share - MAJORITY)
    return np.where(rounded == MAJORITY, MAJORITY + step, rounded)


def _answered(values: NDArray[np.floating], answers: Answers) -> Labels:
    return np.where(answers > 0, values, np.nan).astype(np.float32)


RULES: dict[str, Callable[[Answers, Answers, Answers], Labels]] = {
    "vote": _vote,
    "any": _any,
    "all": _all,
    "soft": _soft,
}


def _summary(
    rule: str,
    images: NDArray[np.intp],
    labels: list[str],
    counts: tuple[Answers, Answers, Answers],
    combined: Labels,
) -> ReaderSummary:
    rows = np.bincount(images)
    readers, how_many = np.unique(rows, return_counts=True)
    several = np.add.reduce(counts) > 1
    disagree = _disagree(counts)
    left_open = several & np.isin(combined, (UNCERTAIN, MAJORITY))
    return ReaderSummary(
        rule=rule,
        rows=len(images),
        images={str(n): int(of) for n, of in zip(readers, how_many, strict=True)},
        labels={
            label: ReaderCounts(
                several=int(several[:, at].sum()),
                disagree=int(disagree[:, at].sum()),
                undecided=int(left_open[:, at].sum()),
            )
            for at, label in enumerate(labels)
        },
    )


def _disagree(counts: tuple[Answers, Answers, Answers]) -> NDArray[np.bool_]:
    """(images, labels) where at least two different answers are given."""
    different: NDArray[np.bool_] = np.add.reduce([count > 0 for count in counts], dtype=int) > 1
    return different


def _note_disagreements(
    rows: pd.DataFrame,
    groups: _Groups,
    counts: tuple[Answers, Answers, Answers],
    labels: list[str],
    problems: Problems,
) -> None:
    """List each image on which readers disagree, and what they say."""
    disagree = _disagree(counts)
    chosen = np.flatnonzero(disagree.any(axis=1))
    paths = rows["path"].to_numpy()[groups.first[chosen]]
    numbers = np.stack(counts, axis=-1)
    details = []
    for image in chosen:
        told = []
        for at in np.flatnonzero(disagree[image]):
            said = zip(numbers[image, at], ANSWERS.values(), strict=True)
            told.append(f"{labels[at]} {', '.join(f'{n} {what}' for n, what in said if n)}")
        details.append("; ".join(told))
    problems.add(DISAGREE, paths.tolist(), details, kept=True)
