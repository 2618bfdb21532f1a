"""Which rows name the same, and where they differ."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.repeated_rows import RepeatedRows, refuse_different_labels

NAN = float("nan")


def test_the_rows_of_a_name_are_together_and_single_ones_are_not_there():
    found = RepeatedRows.of(np.array([2, 0, 1, 2, 1, 2]))
    assert found.rows.tolist() == [2, 4, 0, 3, 5]
    assert found.first.tolist() == [2, 0]
    assert found.spread(np.array(["b", "c"])).tolist() == ["b", "b", "c", "c", "c"]


def test_where_names_are_all_different_nothing_is_there():
    for names in ([], [0, 1, 2]):
        found = RepeatedRows.of(np.array(names, dtype=int))
        assert len(found.rows) == len(found.starts) == 0
        assert found.differ(np.zeros((len(names), 2))).shape == (0, 2)


def test_a_blank_differs_from_a_value_and_not_from_a_blank():
    values = np.array([[NAN, NAN, 1], [NAN, 0, 1]])
    found = RepeatedRows.of(np.array([0, 0])).differ(values)
    assert found.tolist() == [[False, True, False]]


def test_a_name_with_two_different_labels_is_refused():
    names = pd.Series(["a", "b", "a", "b", "c"])
    labels = ("Edema", "Fracture")
    same = np.array([[1, NAN], [0, 0], [1, NAN], [0, 0], [1, 1]])
    refuse_different_labels(names, same, labels, Path("t.csv"))
    other = same.copy()
    other[3, 1] = 1
    with pytest.raises(DataError, match=r"t.csv: 1 name in several rows .* \(b \(Fracture\)\)"):
        refuse_different_labels(names, other, labels, Path("t.csv"))
