"""`predict --heatmaps`: which findings are drawn, under which names, and what is left alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtool.core.config import PredictConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.json_files import read_json
from cxrtool.core.runs import RunFolder
from cxrtool.images.resizing import load_pixels
from cxrtool.networks.class_activation import load_explainer
from cxrtool.workflows.predict import predict_images
from tests.support.sealing import change_model, change_thresholds

CPU = PredictConfig(device="cpu", precision="fp32", workers=0, engine="torch")


def draw(trained, inputs, folder, **options):
    config = replace(CPU, heatmaps=folder, **options)
    return predict_images(config, [str(path) for path in inputs], trained.workspace)


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:2]


def stems(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_findings_over_their_thresholds_are_drawn_with_their_raw_maps(
    trained_once, images, tmp_path
):
    result = draw(trained_once, images, tmp_path / "maps")
    expected = []
    for number, row in enumerate(result.rows, start=1):
        for label in row.positive:
            stem = f"{number:05d}-{Path(row.path).stem}-{label.replace(' ', '_')}"
            expected += [f"{stem}.npy", f"{stem}.png"]
    assert expected
    assert stems(tmp_path / "maps") == sorted(expected)
    assert result.drawn == len(expected) // 2
    assert result.as_json()["drawn"] == result.drawn


@pytest.mark.parametrize("method", ["gradcam", "cam"])
def test_the_labels_named_are_drawn_and_the_raw_map_is_the_explainers(
    trained_once, images, tmp_path, method
):
    folder = tmp_path / "maps"
    asked = {"heatmap_labels": "Edema, Fracture", "heatmap_method": method}
    draw(trained_once, images[:1], folder, **asked)
    stem = f"00001-{images[0].stem}"
    assert stems(folder) == [
        *(f"{stem}-{label}.{kind}" for label in ("Edema", "Fracture") for kind in ("npy", "png"))
    ]
    run = RunFolder(trained_once.workspace.runs / "tiny")
    expected = load_explainer(run).maps(load_pixels(images[0], 32), ["Edema"], method)[0]
    assert np.load(folder / f"{stem}-Edema.npy") == pytest.approx(expected, abs=1e-5)
    with Image.open(folder / f"{stem}-Edema.png") as picture:
        assert min(picture.size) > 200


def test_a_bad_image_and_an_odd_name_draw_nothing_and_no_path(trained_once, images, tmp_path):
    odd = tmp_path / "in" / "..$x$<b>\nname.jpg"
    odd.parent.mkdir()
    odd.write_bytes(images[0].read_bytes())
    (tmp_path / "in" / "bad.jpg").write_text("text")
    inputs = [odd, tmp_path / "in" / "bad.jpg"]
    result = draw(trained_once, inputs, tmp_path / "maps", heatmap_labels="Edema")
    assert (result.failed, result.drawn) == (1, 1)
    assert stems(tmp_path / "maps") == ["00001-x_b_name-Edema.npy", "00001-x_b_name-Edema.png"]


def test_a_folder_that_holds_something_is_replaced_only_when_it_is_ours_and_asked(
    trained_once, images, tmp_path
):
    folder = tmp_path / "maps"
    asked = {"heatmap_labels": "Edema"}
    draw(trained_once, images, folder, **asked)
    with pytest.raises(DataError, match="--force"):
        draw(trained_once, images[:1], folder, **asked)
    draw(trained_once, images[:1], folder, force=True, **asked)
    assert len(stems(folder)) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="left alone"):
        draw(trained_once, images, tmp_path / "mine", force=True, **asked)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_resumed_table_draws_what_was_missing(trained_once, images, tmp_path):
    folder, output = tmp_path / "maps", tmp_path / "t.csv"
    asked = {"heatmap_labels": "Edema", "output": output}
    draw(trained_once, images[:1], folder, **asked)
    draw(trained_once, images, folder, resume=True, **asked)
    assert [name[:5] for name in stems(folder)] == ["00001", "00001", "00002", "00002"]


def test_maps_that_a_finished_table_lacks_are_drawn_and_no_others(trained_once, images, tmp_path):
    folder, output = tmp_path / "maps", tmp_path / "t.csv"
    asked = {"output": output, "resume": True}
    wanted = draw(trained_once, images, tmp_path / "at once").drawn
    assert wanted >= 2
    draw(trained_once, images, None, output=output)
    before = output.read_bytes()
    assert draw(trained_once, images, folder, **asked).drawn == wanted
    assert stems(folder) == stems(tmp_path / "at once")
    assert draw(trained_once, images, folder, **asked).drawn == 0
    last = stems(folder)[-1]
    (folder / last).unlink()
    assert draw(trained_once, images, folder, **asked).drawn >= 1
    assert stems(folder) == stems(tmp_path / "at once")
    more = draw(trained_once, images, folder, heatmap_labels="Edema,Fracture", **asked)
    edemas = {path.name[:5] for path in folder.glob("*-Edema.png")}
    assert more.drawn >= 1
    assert edemas == {"00001", "00002"}
    assert output.read_bytes() == before


def test_labels_that_are_no_latin_words_have_a_map_each(trained, images, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    known = read_json(run.labels)["labels"]
    odd = dict(zip(known, ["肺炎", "气胸", "A/B", "A B", "🫁"], strict=False))
    for file in (run.labels, run.thresholds):
        text = json.dumps(read_json(file), ensure_ascii=False)
        for label, other in odd.items():
            text = text.replace(f'"{label}"', f'"{other}"')
        file.write_text(text)
    change_model(run)
    change_thresholds(run)
    asked = {"heatmap_labels": "肺炎,气胸,A/B,A B,🫁"}
    drawn = draw(trained, images[:1], tmp_path / "maps", **asked).drawn
    assert drawn == 5
    assert len(stems(tmp_path / "maps")) == 2 * drawn


def test_a_label_that_the_model_lacks_is_wrong_use(trained_once, images, tmp_path):
    with pytest.raises(UsageError, match="did you mean Edema"):
        draw(trained_once, images, tmp_path / "maps", heatmap_labels="Edma")
    assert not (tmp_path / "maps").exists()
