"""Images in several rows, as of several readers: one row each, with what all say together."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import READERS
from cxrtool.core.errors import DataError, UsageError, counted, first_few, unknown_name
from cxrtool.core.json_files import JsonResult
from cxrtool.data.labels import MAJORITY, UNCERTAIN
from cxrtool.data.manifest import label_columns
from cxrtool.data.problems import Problems
from cxrtool.data.reader_rules import Answers, Labels
from cxrtool.data.repeated_rows import RepeatedRows

DISAGREE = "readers disagree"
"""The kind of problem that a rule has settled: it is listed, and nothing is wrong."""
DESCRIBED = ("view", "orientation", "sex", "age", "source")
"""What rows of one image should say alike. Studies often have names of our own, after the path."""


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
    keep = _of_one_patient(rows, RepeatedRows.of(images), problems)
    if rule is not None and readers is not None:
        keep &= _one_answer_a_reader(rows, images, readers, keep, problems)
    if not keep.all():
        rows, images = rows[keep].reset_index(drop=True), pd.factorize(images[keep])[0]
    groups = RepeatedRows.of(images)
    _note_differences(rows, groups, problems)
    later = np.zeros(len(rows), bool)
    later[groups.rows], later[groups.first] = True, False
    if rule is None:
        _refuse_contradictions(rows, groups, where)
        problems.add("duplicate path", rows["path"][later].tolist(), "kept once", kept=False)
        return rows[~later].reset_index(drop=True), None
    labels = label_columns(rows)
    own = rows[labels].iloc[groups.rows].to_numpy(dtype=np.float32)
    answers = Answers.of(own, groups.starts)
    combined = answers.combine(rule)
    _note_disagreements(rows, groups, answers, labels, problems)
    summary = _summary(rule, images, labels, answers, combined)
    rows = rows.copy()
    rows.iloc[groups.first, rows.columns.get_indexer(pd.Index(labels))] = combined
    return rows[~later].reset_index(drop=True), summary


def _of_one_patient(
    rows: pd.DataFrame, groups: RepeatedRows, problems: Problems
) -> NDArray[np.bool_]:
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
    several = RepeatedRows.of(images).rows
    several = several[keep[several] & readers.ne("").to_numpy(dtype=bool)[several]]
    names = pd.factorize(readers.iloc[several])[0]
    pairs = images[several] * (names.max(initial=0) + 1) + names
    groups = RepeatedRows.of(pd.factorize(pairs)[0])
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


def _note_differences(rows: pd.DataFrame, groups: RepeatedRows, problems: Problems) -> None:
    """Note where rows of one image differ in what is no label: the first row's stays."""
    if not len(groups.rows):
        return
    for column in (name for name in DESCRIBED if name in rows.columns):
        other = groups.differ(pd.factorize(rows[column])[0])
        paths = rows["path"].to_numpy()[groups.first[other]].tolist()
        problems.add(f"{column} differs", paths, "between an image's rows: the first's", kept=True)


def _refuse_contradictions(rows: pd.DataFrame, groups: RepeatedRows, where: str) -> None:
    labels = label_columns(rows)
    values = rows[labels].to_numpy(dtype=np.float32)
    told = groups.contradictions(rows["path"], values, labels)
    if told:
        raise DataError(
            f"{where}: {counted(len(told), 'image')} in several rows with different labels "
            f"({first_few(told)}): say what they become with `cxrtool prepare DATA --readers "
            "RULE`, where RULE is vote (the answer of most readers), any, all or soft (the share "
            "of readers who say 1), or correct the table"
        )


def _summary(
    rule: str,
    images: NDArray[np.intp],
    labels: list[str],
    answers: Answers,
    combined: Labels,
) -> ReaderSummary:
    rows = np.bincount(images)
    readers, how_many = np.unique(rows, return_counts=True)
    several, disagree = answers.total > 1, answers.disagree
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


def _note_disagreements(
    rows: pd.DataFrame,
    groups: RepeatedRows,
    answers: Answers,
    labels: list[str],
    problems: Problems,
) -> None:
    """List each image on which readers disagree, and what they say."""
    disagree = answers.disagree
    chosen = np.flatnonzero(disagree.any(axis=1))
    paths = rows["path"].to_numpy()[groups.first[chosen]]
    numbers = np.stack(answers.all, axis=-1)
    details = []
    for image in chosen:
        told = []
        for at in np.flatnonzero(disagree[image]):
            said = zip(numbers[image, at], ("positive", "negative", "uncertain"), strict=True)
            told.append(f"{labels[at]} {', '.join(f'{n} {what}' for n, what in said if n)}")
        details.append("; ".join(told))
    problems.add(DISAGREE, paths.tolist(), details, kept=True)
