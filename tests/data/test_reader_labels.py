"""Several rows of one image: what each rule makes of them, beside an own count with pandas."""

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import READERS
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.problems import Problems
from cxrtool.data.reader_labels import one_row_an_image

NAN = float("nan")
LABELS = ["Edema", "Fracture"]


def table(**columns):
    """Rows of a manifest, as far as is needed."""
    return pd.DataFrame({"patient_id": "p", "age": 60, **columns})


def combine(rows, rule, readers=None):
    """The rows, the summary, and the problems as (kind, where, detail)."""
    problems = Problems()
    series = None if readers is None else pd.Series(readers)
    found, summary = one_row_an_image(rows, rule, series, problems, "t.csv")
    listed = problems.table()
    return found, summary, list(listed[["kind", "where", "detail"]].itertuples(False, None))


@pytest.mark.parametrize("rule", READERS)
@pytest.mark.parametrize("value", [1, 0, -1, NAN])
def test_an_image_that_one_has_read_keeps_its_labels(rule, value):
    found, summary, problems = combine(table(path=["a"], Edema=np.float32([value])), rule)
    np.testing.assert_array_equal(found["Edema"], np.float32([value]))
    assert summary.images == {"1": 1}
    assert problems == []


def by_pandas(rows, rule):
    """The same, image by image, written without looking."""

    def of_label(column):
        answers = column.dropna()
        if answers.empty:
            return NAN
        if rule == "soft":
            return round(float(answers.replace(-1, 0.5).mean()), 3)
        if rule == "vote":
            modes = answers.mode()
            return modes.iloc[0] if len(modes) == 1 else -1
        told = set(answers)
        order = (1, -1, 0) if rule == "any" else (0, -1, 1)
        return next(value for value in order if value in told)

    grouped = rows.groupby("path", sort=False)[LABELS]
    several = grouped.agg(of_label)
    alone = rows.groupby("path").size() == 1
    first = rows.drop_duplicates("path").set_index("path")[LABELS]
    several.loc[alone[alone].index] = first.loc[alone[alone].index]
    return several.astype(np.float32)


@pytest.mark.parametrize("rule", READERS)
@pytest.mark.parametrize("seed", range(12))
def test_any_readers_are_combined_as_pandas_counts_them(seed, rule):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 60))
    answers = rng.choice(np.float32([1, 0, -1, NAN]), (2, size), p=rng.dirichlet(np.ones(4)))
    paths = [f"{n}.png" for n in rng.integers(0, size // rng.integers(1, 5) + 1, size)]
    rows = table(path=paths, **dict(zip(LABELS, answers, strict=True)))
    found, summary, problems = combine(rows, rule)
    expected = by_pandas(rows, rule)
    assert found["path"].tolist() == list(expected.index)
    np.testing.assert_array_equal(found[LABELS], expected)
    sizes = rows.groupby("path").size().value_counts()
    assert summary.images == {str(n): sizes[n] for n in sorted(sizes.index)}
    for label in LABELS:
        answers = rows.groupby("path")[label]
        counts = summary.labels[label]
        assert counts.several == (answers.count() > 1).sum()
        assert counts.disagree == (answers.nunique() > 1).sum()
        left_open = expected[label].isin([-1, 0.5]).to_numpy()
        assert counts.undecided == (left_open & (answers.count() > 1)[expected.index]).sum()
    disagree = rows.groupby("path", sort=False)[LABELS].nunique().max(axis=1) > 1
    assert [where for _, where, _ in problems] == list(disagree[disagree].index)


def test_what_readers_say_is_listed():
    rows = table(path=["a", "b", "a", "a", "b"], Edema=np.float32([1, 0, -1, 1, 0]))
    _, _, problems = combine(rows, "vote")
    assert problems == [("readers disagree", "a", "Edema 2 positive, 1 uncertain")]


def test_without_a_rule_different_labels_are_refused_and_the_images_are_named():
    rows = table(
        path=["a", "b", "a", "b", "c"],
        Edema=np.float32([1, 0, 0, 0, 0]),
        Fracture=np.float32([NAN, 1, NAN, NAN, 0]),
    )
    message = r"t.csv: 2 images .* \(a \(Edema\), b \(Fracture\)\): .*--readers RULE.* vote .* soft"
    with pytest.raises(DataError, match=message):
        combine(rows, None)


def test_a_row_that_is_there_again_stays_once():
    rows = table(path=["a", "b", "a"], Edema=np.float32([1, NAN, 1]))
    found, summary, problems = combine(rows, None)
    assert found["path"].tolist() == ["a", "b"]
    assert summary is None
    assert problems == [("duplicate path", "a", "kept once")]


def test_a_reader_counts_once():
    rows = table(path=["a"] * 4 + ["b"], Edema=np.float32([1, 1, 0, 0, 1]))
    found, summary, problems = combine(rows, "vote", ["R1", "R1", "R2", "R3", "R1"])
    assert found["Edema"].tolist() == [0, 1]
    assert summary.images == {"1": 1, "3": 1}
    assert ("reader twice", "a, R1", "the same labels again") in problems


def test_of_a_reader_who_gives_two_answers_none_counts():
    rows = table(path=["a"] * 4 + ["b"] * 2, Edema=np.float32([1, 0, 0, 1, 1, 0]))
    found, _, problems = combine(rows, "soft", ["R1", "R1", "R2", "R3", "R1", "R1"])
    assert found["path"].tolist() == ["a"]  # nothing is left of b
    assert found["Edema"].tolist() == [0.5]
    contradicts = [where for kind, where, _ in problems if kind == "reader contradicts"]
    assert contradicts == ["a, R1", "b, R1"]


def test_readers_without_a_name_are_each_another():
    rows = table(path=["a"] * 3, Edema=np.float32([1, 1, 0]))
    found, summary, _ = combine(rows, "vote", ["", "", "R1"])
    assert (found["Edema"].tolist(), summary.images) == ([1], {"3": 1})


@pytest.mark.parametrize("rule", [None, "vote"])
def test_an_image_of_two_patients_is_left_out(rule):
    rows = table(path=["a", "b", "a"], Edema=np.float32([1, 0, 1]))
    rows["patient_id"] = ["p", "q", "r"]
    found, _, problems = combine(rows, rule)
    assert found["path"].tolist() == ["b"]
    assert problems == [("two patients", "a", "rows of one image name several")]


def test_what_else_differs_is_told():
    rows = table(path=["a", "b", "a"], Edema=np.float32([1, 0, 1]))
    rows["age"] = pd.array([60, 50, None], dtype="Int64")
    found, _, problems = combine(rows, "any")
    assert found["age"].tolist() == [60, 50]
    assert problems == [("age differs", "a", "between an image's rows: the first's")]


def test_an_unknown_rule_is_refused():
    with pytest.raises(UsageError, match="'votes' is not known: did you mean vote"):
        combine(table(path=["a"], Edema=np.float32([1])), "votes")


@pytest.mark.parametrize("rule", [None, *READERS])
def test_of_no_rows_none_are_made(rule):
    rows = table(path=["a"], Edema=np.float32([1])).iloc[:0]
    assert combine(rows, rule)[0].empty
