import warnings

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.heat_grid import Cells
from cxrtool.inference.heatmap_figures import (
    HEAD,
    LONGEST,
    MARGIN,
    OPACITY,
    heat_layer,
    save_heatmap,
)

CELLS = Cells(0.125, 0.25)
HEAT = np.array(
    [[-3, -1, -1, -1], [-1, 0, 0, 2], [0, 0, 0, 1], [0, 0, 0, 0]],
    np.float32,
)
"""The hottest cell is at the right edge, in the second row."""
TOLD = {
    "cells": CELLS,
    "label": "Pleural Effusion",
    "probability": 0.83,
    "threshold": 0.41,
    "name": "view1_frontal.jpg",
}


def image(width, height):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width), np.uint8))


def panels(path, width, height):
    """The two pictures (height, width, 3) in a saved one; they stand side by side."""
    with Image.open(path) as saved:
        shown = np.asarray(saved.convert("RGB")).astype(int)
    scale = LONGEST / max(width, height)
    width, height = (max(1, round(side * scale)) for side in (width, height))
    rows = shown[HEAD : HEAD + height]
    inked = np.flatnonzero((rows != 255).any(axis=(0, 2)))
    second = next(at for at in inked if at > MARGIN + width)
    return rows[:, MARGIN : MARGIN + width], rows[:, second : second + width]


def test_colour_and_opacity_rise_with_the_heat_and_below_zero_it_is_clear():
    layer = heat_layer(HEAT, CELLS, 64, 64)
    assert (layer.shape, layer.dtype) == ((64, 64, 4), np.uint8)
    opacity = layer[..., 3]
    assert 0.95 * 255 * OPACITY < opacity.max() <= 255 * OPACITY
    row, column = np.unravel_index(opacity.argmax(), opacity.shape)
    assert 16 <= row < 32
    assert column >= 48
    assert (opacity[:8, :8] == 0).all()
    ramp = heat_layer(
        np.arange(9, dtype=np.float32)[None] + np.zeros((9, 1), np.float32),
        Cells(0.05, 0.1),
        200,
        20,
    )[0]
    assert (np.diff(ramp[:, 3].astype(int)) >= 0).all()
    light = ramp[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) >= -1).all()
    assert light[-1] > 2 * light[0]


@pytest.mark.parametrize("heat", [-np.ones((3, 3), np.float32), np.zeros((3, 3), np.float32)])
def test_without_a_positive_value_the_layer_is_clear(heat):
    assert (heat_layer(heat, CELLS, 30, 40)[..., 3] == 0).all()


def test_the_layer_does_not_know_the_unit():
    assert (heat_layer(HEAT, CELLS, 40, 40) == heat_layer(1e-4 * HEAT, CELLS, 40, 40)).all()


@pytest.mark.parametrize(
    ("width", "height"), [(390, 320), (320, 390), (200, 200), (60, 60), (3000, 2500), (800, 50)]
)
def test_the_image_is_at_the_left_and_the_map_over_it_at_the_right(tmp_path, width, height):
    grey = image(width, height)
    save_heatmap(tmp_path / "x.png", grey, HEAT, **TOLD)
    plain, overlay = panels(tmp_path / "x.png", width, height)
    small = grey.resize(plain.shape[1::-1], Image.Resampling.BILINEAR, reducing_gap=2.0)
    assert (plain == np.asarray(small)[..., None]).all()
    changed = np.abs(overlay - plain).max(axis=2)
    layer = heat_layer(HEAT, CELLS, *plain.shape[1::-1])
    assert (changed[layer[..., 3] == 0] == 0).all()
    expected = plain + (layer[..., :3] - plain) * (layer[..., 3:] / 255)
    assert np.abs(overlay - expected).max() <= 1


def test_a_map_without_a_positive_value_says_so_over_the_plain_image(tmp_path):
    grey = image(300, 300)
    save_heatmap(tmp_path / "nothing.png", grey, -np.abs(HEAT), **TOLD)
    plain, other = panels(tmp_path / "nothing.png", 300, 300)
    differs = (plain != other).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    # A box of words in the middle, and nothing else.
    assert 250 < rows.min() < 300 < rows.max() < 350
    assert 150 < columns.min() < 300 < columns.max() < 450
    with Image.open(tmp_path / "nothing.png") as saved:
        beside = np.asarray(saved.convert("RGB"))[HEAD : HEAD + 600, MARGIN + 1200 + 40 :]
    assert (beside == 255).all(), "a colour bar of no colours"


@pytest.mark.parametrize(
    "name",
    [
        "$x_1$ $\\no{$.jpg",
        "<b>a & b</b>\nline two\ttab.jpg",
        "a\x00\x1b[31m\udcff\u202e東京.jpg",
        "deep/" * 200 + "x.jpg",
        "",
    ],
)
def test_any_name_and_label_is_written_inside_the_picture(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((300, 320), (30, 400)):
            told = {**TOLD, "name": name, "label": name or "x", "threshold": None}
            save_heatmap(tmp_path / "x.png", image(*shape), HEAT, **told)
            with Image.open(tmp_path / "x.png") as saved:
                edge = np.asarray(saved.convert("L")).copy()
            edge[12:-12, 12:-12] = 255
            assert (edge == 255).all()


def test_what_is_told_makes_a_difference(tmp_path):
    """Probability, threshold, label and name are in the picture: each changes it, elsewhere not."""
    grey = image(200, 200)
    heads = {}
    for key, value in {
        "label": "Edema",
        "probability": 0.2,
        "threshold": None,
        "name": "other.jpg",
        "cells": CELLS,
    }.items():
        save_heatmap(tmp_path / "x.png", grey, HEAT, **{**TOLD, key: value})
        with Image.open(tmp_path / "x.png") as saved:
            heads[key] = np.asarray(saved.convert("L"))
    same = heads.pop("cells")
    for key, picture in heads.items():
        rows = np.flatnonzero((picture != same).any(axis=1))
        assert rows.size, key
        assert (rows >= HEAD + LONGEST).all() if key == "name" else (rows < HEAD).all()


def test_a_picture_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_heatmap(tmp_path / "x.png", image(50, 50), HEAT, **TOLD)
    assert list(tmp_path.iterdir()) == []
