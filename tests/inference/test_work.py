"""Images become rows, in order, whatever scores them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrtool.workflows.predict import predict_images
from tests.support.predicting import CPU, LABELS, predict


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]


def test_threads_and_batches_change_nothing(trained_once, images):
    alone = predict(trained_once, images, batch_size=1).table
    together = predict(trained_once, images, batch_size=3, workers=2).table
    assert np.abs(alone[LABELS].to_numpy() - together[LABELS].to_numpy()).max() < 1e-5
    assert alone["path"].equals(together["path"])


def test_a_bad_file_gets_a_row_and_the_others_their_scores(trained_once, images, tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    inputs = [images[0], tmp_path / "text.jpg", tmp_path / "gone.jpg", images[1]]
    result = predict(trained_once, inputs)
    assert (result.images, result.failed) == (4, 2)
    assert result.table["error"].tolist() == [
        "",
        "not a JPEG, PNG, TIFF or DICOM image",
        "no such file",
        "",
    ]
    assert result.table.loc[[1, 2], LABELS].isna().all(axis=None)
    assert result.table.loc[[1, 2], "positive"].tolist() == ["", ""]
    alone = predict(trained_once, images[:2]).table
    both = result.table.loc[[0, 3], LABELS].to_numpy()
    assert np.abs(both - alone[LABELS].to_numpy()).max() < 1e-5


def test_an_image_given_twice_has_two_rows_that_say_so(trained_once, images, tmp_path):
    inputs = [images[0], images[1], images[0]]
    for output in (None, tmp_path / "t.csv"):
        result = predict(trained_once, inputs, output=output)
        table = result.table if output is None else pd.read_csv(output, keep_default_na=False)
        assert table["path"].tolist() == [str(path) for path in inputs]
        # A network of a few steps also contradicts itself.
        given = [warning.split("; ")[-1] for warning in table["warning"]]
        assert [one == "given 2 times" for one in given] == [True, False, True]
        assert table["Edema"][0] == table["Edema"][2]


def test_rows_are_told_as_they_are_made(trained_once, images):
    heard = []

    class Hearing:
        def begin(self, ensemble, rows, more):
            heard.append((ensemble.labels, rows, more))

        def row(self, row):
            heard.append(row)

    config = replace(CPU, batch_size=1)
    inputs = [str(path) for path in images]
    result = predict_images(config, inputs, trained_once.workspace, listener=Hearing())
    assert heard[0] == (tuple(LABELS), 4, ())
    assert [row.path for row in heard[1:]] == inputs
    assert result.rows == []  # they are not kept as well
