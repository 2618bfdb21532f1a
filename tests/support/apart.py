"""A picture to send, encoded."""

import io

import numpy as np
from PIL import Image

FILM = np.arange(60 * 80, dtype=np.uint8).reshape(60, 80)


def content(kind="PNG", pixels=FILM, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
