"""A table of predictions is gone on with."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.errors import DataError, StoppedError
from cxrtool.core.locks import only_writer
from cxrtool.core.runs import RunFolder
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.journal import Journal
from tests.support.predicting import LABELS, predict


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_rows_that_are_done_are_not_scored_again(
    trained_once, images, tmp_path, monkeypatch, ending
):
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"t.{ending}"
    inputs = [images[0], tmp_path / "late.jpg", *images[1:]]
    (tmp_path / "late.jpg").write_bytes(images[3].read_bytes())
    predict(trained_once, inputs, output=whole, batch_size=1)
    (tmp_path / "late.jpg").unlink()

    class Killed(BaseException):
        pass

    scored = []
    real = Journal._know

    def know(self, path, failed, place):
        if len(scored) == 2:
            raise Killed
        scored.append(path)
        real(self, path, failed, place)

    monkeypatch.setattr(Journal, "_know", know)
    with pytest.raises(Killed):
        predict(trained_once, inputs, output=output, batch_size=1)
    monkeypatch.undo()
    assert not output.exists()
    (tmp_path / "late.jpg").write_bytes(images[3].read_bytes())
    again = []
    score = Ensemble.score

    def counted(self, names, files, **options):
        again.extend(files)
        return score(self, names, files, **options)

    monkeypatch.setattr(Ensemble, "score", counted)
    result = predict(trained_once, inputs, output=output, resume=True, batch_size=1)
    assert output.read_bytes() == whole.read_bytes()
    assert str(images[0]) not in again
    assert str(tmp_path / "late.jpg") in again  # it could not be read before
    assert (result.images, result.failed) == (5, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["late.jpg", whole.name, output.name]
    )


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_a_finished_table_with_rows_that_failed_is_resumed_to_the_undisturbed_one(
    trained_once, images, tmp_path, ending
):
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"t.{ending}"
    (tmp_path / "torn.jpg").write_bytes(images[0].read_bytes()[:300])
    Image.fromarray(np.zeros((50, 800), np.uint8)).save(tmp_path / "strip.png")
    night = [images[0], tmp_path / "torn.jpg", tmp_path / "gone.jpg", tmp_path / "strip.png"]
    predict(trained_once, [*night, images[1]], output=whole, batch_size=1)
    for inputs in (night, night, [*night, images[1]]):
        result = predict(trained_once, inputs, output=output, resume=True, batch_size=1)
        assert result.failed == 2
    assert output.read_bytes() == whole.read_bytes()


def test_a_resumed_table_has_the_digits_of_an_undisturbed_one(
    trained_once, images, tmp_path, monkeypatch
):
    """A network's last digits hang on the batch that an image is in."""
    inputs = [*images, tmp_path / "gone.jpg", *sorted(images[0].parents[2].rglob("*.jpg"))[-4:]]
    whole, output = tmp_path / "whole.csv", tmp_path / "t.csv"
    predict(trained_once, inputs, output=whole, batch_size=4)
    real = Journal._know
    for stop in range(1, len(inputs), 2):

        def know(self, path, failed, place, stop=stop):
            real(self, path, failed, place)
            if len(self) + len(self._failed) == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "_know", know)
            with pytest.raises(StoppedError):
                predict(trained_once, inputs, output=output, batch_size=4)
        predict(trained_once, inputs, output=output, batch_size=4, resume=True)
        assert output.read_bytes() == whole.read_bytes()
        output.unlink()


def test_a_table_that_is_being_written_is_refused_to_a_second_predict(
    trained_once, images, tmp_path
):
    output = tmp_path / "t.csv"
    with (
        only_writer(output),
        pytest.raises(DataError, match=r"another process is writing .*t\.csv"),
    ):
        predict(trained_once, images, output=output, force=True)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_table_is_gone_on_with_by_the_same_model_alone(
    trained, images, tmp_path, monkeypatch
):
    output = tmp_path / "t.csv"
    predict(trained, images[:3], output=output)
    before = output.read_text().splitlines()
    with pytest.raises(DataError, match=r"exists: --resume .*--force"):
        predict(trained, images, output=output)
    predict(trained, images, output=output, resume=True)
    assert output.read_text().splitlines()[:4] == before
    assert len(output.read_text().splitlines()) == 5
    # Another model, or other thresholds: rows of two kinds would stand in one table.
    table = pd.read_csv(output, keep_default_na=False)
    table["Edema"] = 0.9
    table["positive"] = "Edema"
    run = RunFolder(trained.workspace.runs / "tiny")
    limits = json.loads(run.thresholds.read_text())
    limits["thresholds"] = {**dict.fromkeys(LABELS), "Edema": 0.8}
    run.thresholds.write_text(json.dumps(limits))
    with pytest.raises(DataError, match="decided by other thresholds"):
        predict(trained, images, output=output, resume=True)
    table.to_csv(output, index=False)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            predict(trained, images, output=output, resume=True)
    with pytest.raises(DataError, match=r"gives .* other probabilities"):
        predict(trained, images, output=output, resume=True)
    assert pd.read_csv(output)["Edema"].tolist() == [0.9] * 4
    assert list(tmp_path.glob("*.rows-*")) == []


def test_a_stop_keeps_what_is_done_and_says_how_to_go_on(
    trained_once, images, tmp_path, monkeypatch
):
    real = Journal._know

    def know(self, path, failed, place):
        real(self, path, failed, place)
        if len(self) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "_know", know)
    with pytest.raises(StoppedError, match=r"stopped after 2 of 4 images.*--resume"):
        predict(trained_once, images, output=tmp_path / "t.csv")
