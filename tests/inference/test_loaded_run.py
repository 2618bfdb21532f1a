"""`load_run`: from Python, what `predict` says."""

import numpy as np
import pandas as pd
import pytest

from cxrtool import load_run
from cxrtool.core.config import PredictConfig
from cxrtool.core.errors import DataError, RunError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.workflows.predict import predict_images


@pytest.fixture(scope="module")
def run(trained_once):
    return load_run("tiny", trained_once.workspace.folder, engine="torch", precision="fp32")


@pytest.fixture(scope="module")
def images(trained_once):
    return sorted((trained_once.data / "valid").rglob("*.jpg"))


def test_a_row_an_image_in_order(run, images):
    found = run.predict([images[1], "nowhere.jpg", images[0]])
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == ["path", *run.labels, "warning", "error"]
    assert found["path"].tolist() == [str(images[1]), "nowhere.jpg", str(images[0])]
    scores = found[list(run.labels)].to_numpy()
    assert ((scores[[0, 2]] > 0) & (scores[[0, 2]] < 1)).all()
    assert np.isnan(scores[1]).all()
    assert [bool(error) for error in found["error"]] == [False, True, False]


def test_it_is_what_the_command_says(run, images, trained_once):
    config = PredictConfig(run=["tiny"], engine="torch", precision="fp32")
    table = predict_images(config, list(map(str, images)), trained_once.workspace).table
    found = run.predict(images)
    pd.testing.assert_frame_equal(found, table[list(found.columns)])


def test_a_folder_stands_for_its_images(run, images, trained_once):
    folder = trained_once.data / "valid"
    assert run.predict(folder)["path"].tolist() == list(map(str, images))
    with pytest.raises(DataError, match="no images"):
        run.predict(trained_once.workspace.cache)


def test_labels_and_thresholds_are_the_runs(run, trained_once):
    card = read_card(RunFolder(trained_once.workspace.runs / "tiny"))
    assert (run.labels, run.thresholds) == (card.labels, card.thresholds)


def test_the_last_finished_run_is_meant_where_none_is_named(run, images, trained_once):
    last = load_run(workspace=str(trained_once.workspace.folder), engine="torch", precision="fp32")
    pd.testing.assert_frame_equal(last.predict(images), run.predict(images))


def test_a_run_that_is_not_there(trained_once):
    with pytest.raises(RunError, match="tiny"):
        load_run("tinny", trained_once.workspace.folder)
