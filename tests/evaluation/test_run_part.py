"""Which part of which data a run is scored on, and when scores are made again."""

import json

import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.runs import RunFolder
from tests.support.evaluating import evaluate, truth_of


def test_scores_that_are_there_are_not_made_again(trained):
    evaluate(trained)
    run = RunFolder(trained.workspace.runs / trained.run)
    kept = run.predictions("test").read_bytes()
    info = json.loads(trained.workspace.data_info.read_text())
    trained.workspace.data_info.write_text(json.dumps({**info, "folder": "/nowhere"}))
    evaluate(trained)
    assert run.predictions("test").read_bytes() == kept


def test_scores_of_an_edited_split_are_made_again(trained):
    evaluate(trained)
    split = pd.read_csv(trained.workspace.split)
    moved = split.index[split["split"] == "expert"][:3]
    split.loc[moved, "split"] = "test"
    split.to_csv(trained.workspace.split, index=False)
    rows, _ = truth_of(trained, "test")
    assert evaluate(trained).n == len(rows)


def test_another_data_sets_scores_do_not_replace_the_runs_own(trained, tmp_path):
    evaluate(trained)
    run = RunFolder(trained.workspace.runs / trained.run)
    own = run.predictions("test").read_bytes()
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    frame["age"] = "50"
    frame.to_csv(trained.workspace.manifest, index=False)
    evaluate(trained)
    assert run.predictions("test").read_bytes() == own
    assert len(list((run.path / "predictions").glob("test-*.csv"))) == 1


def test_an_empty_part_is_told(trained):
    split = pd.read_csv(trained.workspace.split)
    split["split"] = split["split"].replace("expert", "test")
    split.to_csv(trained.workspace.split, index=False)
    with pytest.raises(DataError, match="no image is in expert"):
        evaluate(trained, split="expert")


def test_a_test_image_that_went_missing_is_told(trained, tmp_path):
    kept = RunFolder(trained.workspace.runs / trained.run).predictions("test")
    kept.unlink(missing_ok=True)
    info = json.loads(trained.workspace.data_info.read_text())
    trained.workspace.data_info.write_text(json.dumps({**info, "folder": str(tmp_path)}))
    with pytest.raises(DataError, match="images of test cannot be read"):
        evaluate(trained)
