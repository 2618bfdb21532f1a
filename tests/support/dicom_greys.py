"""What DICOM files show, and how they fail."""

import io

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring, read_grey
from tests.support.dicoms import NUMBER
from tests.support.lossless import wavy

DEEP = wavy(40, 56, 12)
SHALLOW = wavy(40, 56, 8).astype(np.uint8)


def greys(path):
    return np.asarray(read_grey(path)).astype(int)


def stretched(values):
    """From the least, black, to the greatest, white."""
    values = values.astype(float)
    return (values - values.min()) / (values.max() - values.min()) * 255


def differs(path, expected):
    """The greatest difference to greys that were worked out otherwise, before rounding."""
    return np.abs(greys(path) - expected).max()


def warning(path):
    return read_for_scoring(path)[1]


def palette(colours, bits=8):
    elements = {}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = np.asarray(colours)[:, channel] * (1 if bits == 8 else 256)
        kind = np.uint8 if bits == 8 else "<u2"
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries), 0, bits]
        elements[f"{name}PaletteColorLookupTableData"] = entries.astype(kind).tobytes()
    return {"PhotometricInterpretation": "PALETTE COLOR", **elements}


def j2k(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    return stream.getvalue()


def refused(path):
    with pytest.raises(ImageError) as caught:
        read_for_scoring(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "Testperson" not in message
    assert NUMBER not in message
    return message.removeprefix(f"{path}: ")
