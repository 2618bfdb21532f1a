import numpy as np
import pandas as pd

from cxrtool.data.problems import COLUMNS, Findings


def found():
    findings = Findings()
    findings.add("view", ["line 2", "line 9"], ["old", "-1"], kept=True)
    findings.add("missing image", ["a.png"], "not there", kept=False)
    findings.add("view", ["line 4"], ["x"], kept=True)
    return findings


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
    findings = Findings()
    findings.add("copy", ["a", "b"], "of c", kept=True)
    assert findings.table()["detail"].tolist() == ["of c", "of c"]


def test_no_problem_is_no_row():
    findings = Findings()
    findings.add("view", [], "old", kept=True)
    findings.add("view", [], [], kept=False)
    assert findings.counts() == findings.counts(kept=True) == findings.counts(kept=False) == {}
    assert findings.table().empty
    assert list(findings.table().columns) == list(COLUMNS)


def test_everything_is_text():
    findings = Findings()
    findings.add("size", np.array([3, 4]), np.array([0.5, 2]), kept=True)
    findings.add("size", pd.Series(["a", "b"]).tolist(), [7, "x"], kept=False)
    table = findings.table()
    assert table.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert table["where"].tolist() == ["3", "4", "a", "b"]


def test_a_table_can_be_asked_for_between_two_problems():
    findings = Findings()
    findings.add("view", ["a"], "old", kept=True)
    first = findings.table()
    findings.add("view", ["b"], "old", kept=True)
    assert len(first) == 1
    assert len(findings.table()) == 2
