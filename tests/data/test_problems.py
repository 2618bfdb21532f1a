import numpy as np
import pandas as pd

from cxrtool.data.problems import COLUMNS, Problems


def found():
    problems = Problems()
    problems.add("view", ["line 2", "line 9"], ["old", "-1"], kept=True)
    problems.add("missing image", ["a.png"], "not there", kept=False)
    problems.add("view", ["line 4"], ["x"], kept=True)
    return problems


def test_problems_are_listed_in_the_order_of_their_discovery():
    table = found().table()
    assert list(table.columns) == list(COLUMNS)
    assert table["kind"].tolist() == ["view", "view", "missing image", "view"]
    assert table["where"].tolist() == ["line 2", "line 9", "a.png", "line 4"]
    assert table["detail"].tolist() == ["old", "-1", "not there", "x"]
    assert table["kept"].tolist() == ["yes", "yes", "no", "yes"]


def test_kinds_are_counted_in_the_order_of_their_discovery():
    counts = found().counts()
    assert list(counts.items()) == [("view", 3), ("missing image", 1)]
    assert found().counts(kept=True) == {"view": 3}
    assert found().counts(kept=False) == {"missing image": 1}


def test_one_text_is_the_detail_of_all():
    problems = Problems()
    problems.add("copy", ["a", "b"], "of c", kept=True)
    assert problems.table()["detail"].tolist() == ["of c", "of c"]


def test_no_problem_is_no_row():
    problems = Problems()
    problems.add("view", [], "old", kept=True)
    problems.add("view", [], [], kept=False)
    assert problems.counts() == problems.counts(kept=True) == problems.counts(kept=False) == {}
    assert problems.table().empty
    assert list(problems.table().columns) == list(COLUMNS)


def test_everything_is_text():
    problems = Problems()
    problems.add("size", np.array([3, 4]), np.array([0.5, 2]), kept=True)
    problems.add("size", pd.Series(["a", "b"]).tolist(), [7, "x"], kept=False)
    table = problems.table()
    assert table.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert table["where"].tolist() == ["3", "4", "a", "b"]


def test_a_table_can_be_asked_for_between_two_problems():
    problems = Problems()
    problems.add("view", ["a"], "old", kept=True)
    first = problems.table()
    problems.add("view", ["b"], "old", kept=True)
    assert len(first) == 1
    assert len(problems.table()) == 2
