"""What a run's labels and a data set's have in common, by name and by what is in the cells."""

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.manifest import ABOUT, label_columns
from cxrtool.evaluation.shared_labels import LabelCells, share_labels


def manifest(**labels):
    rows = len(next(iter(labels.values())))
    return pd.DataFrame({**{name: ["x"] * rows for name in ABOUT}, **labels})


def test_each_side_is_told_what_the_other_lacks():
    nan = np.nan
    frame = manifest(
        Effusion=[1.0, nan, -1.0, 0.0],
        Edema=[0.0, 1.0, 0.0, 0.0],
        Fracture=[nan] * 4,
        Hernia=[1.0] * 4,
    )
    rows, found = share_labels(["Edema", "Pleural Effusion", "Fracture", "Mass"], frame, "theirs")
    assert found.common == ("Edema", "Pleural Effusion")
    assert found.renamed == {"Pleural Effusion": "Effusion"}
    assert (found.missing, found.empty, found.other) == (("Mass",), ("Fracture",), ("Hernia",))
    # A policy may name any of the run's labels.
    assert set(label_columns(rows)) == {"Edema", "Pleural Effusion", "Fracture", "Mass", "Hernia"}
    assert rows["Pleural Effusion"].tolist()[0] == 1
    assert rows["Mass"].isna().all()
    cells = LabelCells.of(rows, found.common, "absent")
    assert (cells.blank, cells.uncertain, cells.blank_means) == (1 / 8, 1 / 8, "absent")


def test_no_label_in_common_names_both_sides_and_those_that_are_blank():
    frame = manifest(Hernia=[1.0, 0.0], Edema=[np.nan, np.nan])
    with pytest.raises(DataError, match=r"theirs has no label.*Hernia.*Mass; Edema: blank in each"):
        share_labels(["Edema", "Mass"], frame, "theirs")
