"""Pictures for the page."""

import base64
import io

from PIL import Image

from cxrtool.gui.pictures import LONGEST, xray_uri


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_large_x_ray_is_made_smaller_and_keeps_its_shape():
    uri, width, height = xray_uri(Image.new("L", (3000, 2400), 90))
    assert (width, height) == (LONGEST, 800) == decoded(uri).size
    assert xray_uri(Image.new("L", (30, 20), 90))[1:] == (30, 20)
