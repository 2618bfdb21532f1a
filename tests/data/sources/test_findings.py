from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.findings import FindingColumns, FindingList, as_chexpert

TABLE = Path("findings.csv")
BARS = FindingList(
    column="what",
    split=lambda text: text.split("|") if text else [],
    known=("Mass", "Nodule", "Hernia"),
    none=("nothing",),
)
OPEN = FindingList(column="what", split=lambda text: text.split("|") if text else [])


def read(findings, **columns):
    problems = Problems()
    frame = pd.DataFrame(columns, dtype="str")
    return findings.read(frame, TABLE, problems), problems.table()


def test_what_a_list_does_not_name_is_absent():
    found, problems = read(BARS, what=["Mass", "mass| NODULE", "nothing|Hernia"])
    assert found.names == ("Mass", "Nodule", "Hernia")
    assert found.values.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert not found.bad.any()
    assert problems.empty


def test_a_list_without_any_finding_says_nothing_and_an_unknown_one_is_named():
    found, problems = read(BARS, what=["Mass", "", "nothing", "Mass|Cat", "Mass"])
    assert found.bad.tolist() == [False, True, True, True, False]
    assert sorted(zip(problems["kind"], problems["where"], strict=True)) == [
        ("label value", "findings.csv line 5"),
        ("no labels", "findings.csv line 3"),
        ("no labels", "findings.csv line 4"),
    ]


def test_names_that_are_not_known_beforehand_are_those_that_occur():
    found, _ = read(OPEN, what=["b|a", "c", "a|a"])
    assert found.names == ("a", "b", "c")
    assert found.values.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_columns_are_read_where_they_are_there_and_their_cells_may_be_words():
    columns = {"pleural_effusion": ["YES", "0", ""], "Edema": ["-1", "no", "x"]}
    found, problems = read(FindingColumns(("Edema", "Fracture", "Pleural Effusion")), **columns)
    assert found.names == ("Edema", "Pleural Effusion")
    np.testing.assert_array_equal(found.values[:2], [[-1, 1], [0, 0]])
    assert found.bad.tolist() == [False, False, True]
    assert found.columns == ("Edema", "pleural_effusion")
    assert problems["where"].tolist() == ["findings.csv line 4"]


def test_a_table_without_findings_is_refused():
    with pytest.raises(DataError, match=r"findings\.csv has no column of a finding .*: its .*Age"):
        read(FindingColumns(("Edema",)), Age=["1"])
    with pytest.raises(DataError, match="no column what"):
        read(BARS, Age=["1"])


def test_several_findings_that_are_one_label_are_joined():
    columns = {"Mass": ["1", "0", "-1", "", "0"], "Nodule": ["0", "0", "0", "", ""]}
    found, _ = read(FindingColumns(("Mass", "Nodule")), **columns)
    values = as_chexpert(found, {"Lung Lesion": ("Mass", "Nodule"), "Edema": ("none",)}).values
    lesion = values[:, CHEXPERT_LABELS.index("Lung Lesion")]
    np.testing.assert_array_equal(lesion, [1, 0, -1, np.nan, 0])
    others = [at for at, name in enumerate(CHEXPERT_LABELS) if name != "Lung Lesion"]
    assert np.isnan(values[:, others]).all()


def test_one_finding_may_be_of_two_labels():
    found, _ = read(OPEN, what=["hydropneumothorax", "a"])
    meaning = dict.fromkeys(("Pneumothorax", "Pleural Effusion"), ("hydropneumothorax",))
    values = as_chexpert(found, meaning).values
    assert (values[0] == 1).sum() == 2
    assert (values[1] == 0).sum() == 2
