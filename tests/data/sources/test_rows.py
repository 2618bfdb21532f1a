"""Cells of foreign tables: understood, or blank and noted with their line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import all_of, label_cells, refuse_climbing, sexes, years

TABLE = Path("train.csv")


def noted(problems):
    table = problems.table()
    return list(zip(table["kind"], table["where"], table["detail"], strict=True))


def test_ages_are_whole_years_and_what_is_none_is_blank():
    texts = pd.Series(["61", "", "61.4", "-1", "121", "old"])
    problems = Problems()
    found = years(texts, pd.to_numeric(texts, errors="coerce"), TABLE, problems)
    assert found.fillna(-9).tolist() == [61, -9, 61, -9, -9, -9]
    lines = [("train.csv line 5", "-1"), ("train.csv line 6", "121"), ("train.csv line 7", "old")]
    assert noted(problems) == [("odd age", *line) for line in lines]


def test_sexes_are_understood_in_any_case():
    problems = Problems()
    found = sexes(pd.Series(["M", "female ", "", "UNKNOWN", "x"]), TABLE, problems)
    assert found.tolist() == ["Male", "Female", "", "Unknown", ""]
    assert noted(problems) == [("odd sex", "train.csv line 6", "x")]


def test_a_row_with_a_label_that_is_none_is_marked():
    frame = pd.DataFrame({"A": ["1", "", "2"], "B": ["-1.0", "0", "1"]})
    problems = Problems()
    values, bad = label_cells(frame, ["A", "B"], TABLE, problems)
    assert np.array_equal(values[:2], [[1, -1], [np.nan, 0]], equal_nan=True)
    assert bad.tolist() == [False, False, True]
    assert noted(problems) == [("label value", "train.csv line 4", "A: '2'")]


def test_a_path_that_climbs_out_refuses_the_table():
    refuse_climbing(pd.Series(["a/b.png", "a..b.png"]), TABLE)
    with pytest.raises(DataError, match=r"1 paths climb out .*\(lines 3\)"):
        refuse_climbing(pd.Series(["a/b.png", "a/../../b.png"]), TABLE)


def test_what_fails_is_told_of_all_steps_at_once():
    def fails(text):
        raise DataError(text)

    assert all_of([lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(DataError, match=r"^one\ntwo$"):
        all_of([lambda: fails("one"), lambda: 3, lambda: fails("two")])
