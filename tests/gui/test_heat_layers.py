"""Maps as layers on a picture."""

import numpy as np

from cxrtool.core.errors import RunError
from cxrtool.gui.heat_layers import SIDE, HeatMaps, layer_of
from tests.support.gui import CELLS, LABELS, heat_maps

SEEN = np.zeros((8, 8), np.uint8)


def test_a_map_is_clear_where_there_is_nothing_and_full_at_its_greatest_value():
    found = heat_maps().maps(SEEN, LABELS)
    assert list(found) == list(LABELS)
    assert [one.cells for one in found.values()] == [CELLS] * 3
    first, *others = [layer_of(one) for one in found.values()]
    assert others == [None, None]
    opacity = first[..., 3]
    assert opacity.shape == (SIDE, SIDE)
    assert (opacity[: SIDE // 4, 3 * SIDE // 4 :] > 250).all()
    assert (opacity[3 * SIDE // 4 :] == 0).all()


def test_what_kept_the_maps_from_coming_is_told():
    def fails():
        raise RunError("the weights are gone")

    broken = HeatMaps(fails)
    broken.start()
    assert broken.maps(SEEN, LABELS) == "the weights are gone"
    assert HeatMaps(None, "none here").maps(SEEN, LABELS) == "none here"
