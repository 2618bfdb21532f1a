"""windows.js: greys by DICOM PS3.3 C.11.2.1.2, as numpy computes them."""

import numpy as np
import pytest
from scipy.special import expit

from tests.support.scripted_desk import film, text_of, window

VALUES = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def greys(functions, made, index=0):
    """The grey of each pixel value by the page's own functions."""
    found = functions.evaluate(
        """async ([film, index]) => {
            const { decodeFilm, greysOf } = await import("/static/windows.js");
            const decoded = decodeFilm(film);
            return [...greysOf(decoded, decoded.presentations[index])];
        }""",
        [made, index],
    )
    return np.array(found)


def expected(values, centre, width, function):
    """The standard's own three formulas, for greys from 0 to 255."""
    if function == "SIGMOID":
        return 255 * expit(4 * (values - centre) / width)
    if function == "LINEAR":
        inside = ((values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5) * 255
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    else:
        inside = ((values - centre) / width + 0.5) * 255
        low, high = centre - width / 2, centre + width / 2
    return np.where(values <= low, 0, np.where(values > high, 255, inside))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000.5, 300.25), (300, 1), (-50, 20)])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0.5, -100)])
def test_greys_are_the_standards(functions, function, centre, width, slope, intercept):
    made = film(VALUES, window(centre, width, function), slope=slope, intercept=intercept)
    right = expected(slope * np.arange(4096) + intercept, centre, width, function)
    assert np.abs(greys(functions, made) - right).max() <= 0.5 + 1e-6
    turned = greys(functions, {**made, "white_is_zero": True})
    assert np.abs(255 - turned - right).max() <= 0.5 + 1e-6


def test_a_table_is_taken_as_it_is_and_its_end_lasts(functions):
    table = np.random.default_rng(1).integers(0, 256, 1000).astype(np.uint8)
    made = film(VALUES, {"kind": "table", "name": "T", "greys": text_of(table)}, white_is_zero=True)
    found = greys(functions, made)
    assert (found[:1000] == table).all()
    assert (found[1000:] == table[-1]).all()


def test_the_pixels_are_those_that_were_sent(functions):
    for values in (VALUES, (VALUES % 256).astype(np.uint8), VALUES * 16 + 15):
        found = functions.evaluate(
            """async (film) => {
                const { decodeFilm } = await import("/static/windows.js");
                return [...decodeFilm(film).values];
            }""",
            film(values),
        )
        assert found == values.ravel().tolist()


def test_a_film_that_is_not_whole_is_no_film(functions):
    made = {**film(VALUES), "height": 65}
    with pytest.raises(Exception, match="not whole"):
        greys(functions, made)


def test_colours_are_grey_and_opaque(functions):
    found = functions.evaluate(
        """async () => {
            const { coloursOf, paint } = await import("/static/windows.js");
            const into = new Uint32Array(3);
            paint(Uint8Array.of(0, 1, 2), coloursOf(Uint8Array.of(0, 7, 255), true), into);
            return [...new Uint8Array(into.buffer)];
        }"""
    )
    assert found == [255, 255, 255, 255, 248, 248, 248, 255, 0, 0, 0, 255]
