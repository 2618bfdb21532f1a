"""A run's own table of predictions, with logits."""

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.prediction_rows import header, write_rows
from cxrtool.data.prediction_tables import read_predictions, rows_of
from tests.support.rows import LABELS, some_rows


def test_a_runs_own_table_holds_the_logits_after_what_others_read(tmp_path):
    rows = list(rows_of(["a", "b"], [[800, -0.1], [900, 30]], LABELS, {"Edema": 1.0, LABELS[1]: 0}))
    write_rows(rows, tmp_path / "t.csv", LABELS, logits=True)
    found = read_predictions(tmp_path / "t.csv", LABELS)
    assert found.logits.to_numpy().tolist() == [[800, -0.1], [900, 30]]
    assert found.scores.to_numpy().tolist() == [list(row.scores) for row in rows]
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == [
        *("path", *LABELS, "positive", "warning", "error"),
        *("Edema:logit", "Pleural Effusion:logit"),
    ]
    assert found.of(["b"]).logits["Edema"].tolist() == [900]


def test_a_table_of_version_0_1_ranks_by_its_probabilities(tmp_path):
    (tmp_path / "t.csv").write_text(
        "path,Edema,Pleural Effusion,positive,warning,error\n"
        "a,0.5,1,,,\nb,0.25,0,,,\nc,0.5,0.1,,,\n"
    )
    found = read_predictions(tmp_path / "t.csv", LABELS)
    for label in LABELS:
        assert found.logits[label].rank().tolist() == found.scores[label].rank().tolist()
    assert np.isfinite(found.logits.to_numpy()).all()


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        ("Edema:logit,Pleural Effusion:logit", "0,-2", "probabilities that are not those of"),
        ("Edema:logit,Pleural Effusion:logit", "0,", "not numbers"),
        ("Edema:logit", "0", "lacks the columns Pleural Effusion:logit"),
    ],
)
def test_logits_that_are_not_those_of_the_probabilities_are_refused(
    tmp_path, columns, cells, message
):
    (tmp_path / "t.csv").write_text(
        f"path,Edema,Pleural Effusion,positive,warning,error,{columns}\na,0.5,0.5,,,,{cells}\n"
    )
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "t.csv", LABELS)


def test_a_csv_is_one_that_pandas_and_evaluate_read(tmp_path):
    rows = [row for row in some_rows() if row.scores is not None and row.path.isprintable()]
    write_rows(rows, tmp_path / "t.csv", LABELS)
    scores = read_predictions(tmp_path / "t.csv", LABELS).scores
    assert scores.index.tolist() == [row.path for row in rows]
    assert scores.to_numpy().tolist() == [list(row.scores) for row in rows]
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == header(LABELS)
