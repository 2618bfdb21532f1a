from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cxrtool.inference.heatmap_figures import heat_layer, laid_over
from cxrtool.pacs.capture_picture import FOOT, HEAD, LEAST_WIDTH, LONGEST, draw_capture
from tests.support.studies import MODEL, findings, heat

FINDING = next(one for one in findings() if one.decision == "positive")


def film(width, height):
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (height, width), np.uint8))


def shown_film(picture, width):
    left = (picture.shape[1] - width) // 2
    return picture[HEAD:-FOOT, left : left + width]


@pytest.mark.parametrize(("width", "height"), [(700, 500), (500, 700), (64, 64), (1024, 30)])
def test_a_film_up_to_the_limit_is_shown_pixel_by_pixel(width, height):
    picture = draw_capture(film(width, height), None, FINDING, MODEL)
    assert picture.dtype == np.uint8
    assert picture.shape == (height + HEAD + FOOT, max(width, LEAST_WIDTH), 3)
    expected = np.dstack([np.asarray(film(width, height))] * 3)
    assert (shown_film(picture, width) == expected).all()


@pytest.mark.parametrize(("width", "height"), [(2500, 3000), (3000, 1200)])
def test_a_larger_film_is_made_smaller(width, height):
    picture = draw_capture(film(width, height), None, FINDING, MODEL)
    scale = LONGEST / max(width, height)
    assert picture.shape[0] - HEAD - FOOT == round(height * scale)


def test_heat_is_laid_over_the_film_where_it_is():
    plain = np.dstack([np.asarray(film(640, 480))] * 3)
    given = heat(at=(1, 2))
    picture = shown_film(draw_capture(film(640, 480), given, FINDING, MODEL), 640)
    layer = heat_layer(given.values, given.cells, 640, 480)
    assert (picture == laid_over(layer, plain)).all()
    changed = np.argwhere((picture != plain).any(axis=2))
    assert 120 < changed[:, 0].mean() < 240
    assert 320 < changed[:, 1].mean() < 480


def words(**changes):
    return draw_capture(film(640, 100), None, replace(FINDING, **changes), MODEL)


def test_words_say_which_finding_it_is_and_never_lie_on_the_film():
    first, other = words(), words(label="Another finding")
    assert (first[HEAD:] == other[HEAD:]).all()
    assert (first[:HEAD] != other[:HEAD]).any()
    assert (first[:HEAD] != words(shown="0.9871")[:HEAD]).any()
    assert (first[:HEAD] != words(threshold=None)[:HEAD]).any()
    assert (first[:HEAD] != words(verdict="rule-in")[:HEAD]).any()
    assert (first[-FOOT:] > 200).any()


def test_why_there_is_no_heat_map_is_said_under_the_film():
    plain = draw_capture(film(640, 100), None, FINDING, MODEL)
    told = draw_capture(film(640, 100), None, FINDING, MODEL, "an exported model has none")
    assert (plain[:-FOOT] == told[:-FOOT]).all()
    assert (plain[-FOOT:] != told[-FOOT:]).any()


def test_a_long_label_is_cut_to_the_picture():
    long = words(label="Finding of the lung that is described at great length " * 4)
    assert long.shape == words().shape
    assert (long[:HEAD, -8:] == 0).all()


def test_a_map_without_anything_for_it_leaves_the_film_as_it_is():
    given = heat()
    given.values[:] = -1
    picture = shown_film(draw_capture(film(640, 480), given, FINDING, MODEL), 640)
    assert (picture[..., 0] == np.asarray(film(640, 480))).all()
