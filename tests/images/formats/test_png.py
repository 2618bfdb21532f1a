"""What the checksums of a PNG say is told."""

import numpy as np

from cxrtool.images.reading import read_for_scoring
from tests.support.formats import FILM, png, stored


def test_a_png_whose_checksum_does_not_match_is_told(tmp_path):
    content = bytearray(png())
    content[content.index(b"IEND") - 8] ^= 1  # of the checksum of the pixels
    grey, warning = read_for_scoring(stored(tmp_path, content))
    assert (np.asarray(grey) == FILM).all()
    assert warning == "damaged: a checksum of its pixels does not match"
