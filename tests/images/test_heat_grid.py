import numpy as np
import pytest

from cxrtool.images.heat_grid import Cells, HeatMap, spread

RESNET, SWIN = Cells(0.5 / 224, 32 / 224), Cells(16 / 224, 32 / 224)
"""At 224 pixels: the first cell's centre is at the first pixel, or in the first square of 32."""


def only(row, column, shape=(7, 7)):
    heat = np.zeros(shape, np.float32)
    heat[row, column] = 1
    return heat


@pytest.mark.parametrize("cells", [RESNET, SWIN])
@pytest.mark.parametrize(("width", "height"), [(224, 224), (390, 320), (60, 128), (1001, 2000)])
def test_a_cells_value_is_at_its_centre_whatever_the_images_shape(cells, width, height):
    whole = spread(only(2, 5), cells, width, height)
    assert whole.shape == (height, width)
    assert 0.9 < whole.max() <= 1
    down, across = (whole.sum(axis) @ (np.arange(whole.shape[1 - axis]) + 0.5) for axis in (1, 0))
    centre = down / whole.sum() / height, across / whole.sum() / width
    assert centre == pytest.approx([cells.first + k * cells.step for k in (2, 5)], abs=0.004)


def test_between_centres_it_is_linear_and_beyond_them_level():
    heat = np.array([[0, 8], [0, 8]], np.float32)
    whole = spread(heat, Cells(0.25, 0.5), 16, 4)
    steps = [0] * 4 + [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5] + [8] * 4
    assert whole == pytest.approx(np.tile(steps, (4, 1)), abs=1e-5)


@pytest.mark.parametrize("side", [32, 47, 63, 80, 95, 97, 225])
@pytest.mark.parametrize("first", [0.5, 14.5, 16.0])
def test_no_size_of_input_reaches_beyond_what_is_known(side, first):
    for count in {max(1, side // 32), -(-side // 32)}:
        heat = np.full((count, count), 3, np.float32)
        assert np.allclose(spread(heat, Cells(first / side, 32 / side), 50, 40), 3)


def test_the_peak_is_the_centre_of_the_hottest_cell_on_the_image():
    found = HeatMap(only(2, 5), SWIN).peak
    assert found == pytest.approx([(16 + 5 * 32) / 224, (16 + 2 * 32) / 224])
    assert HeatMap(only(0, 6), Cells(-0.1, 0.2)).peak == (1.0, 0.0)
    assert HeatMap(-only(2, 5), SWIN).peak is None
