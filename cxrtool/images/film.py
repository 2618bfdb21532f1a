"""Uploads for display: decoded once, to the greys that are scored and to the film at full depth."""

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from cxrtool.images.decoder_warnings import QUIET
from cxrtool.images.errors import ImageError, named_error
from cxrtool.images.files import is_dicom
from cxrtool.images.pictures import examine_picture, read_picture_film
from cxrtool.images.presentations import FullDepth, as_stored, presentation_from
from cxrtool.images.reading import decode_apart, finished
from cxrtool.images.signatures import DICOM_MARK, MARK_PLACE


@dataclass(frozen=True, kw_only=True)
class Film(FullDepth):
    """A decoded upload. The first of its presentations shows `grey`, within one level."""

    grey: Image.Image
    """Mode L: what the network is given, as of `reading.read_for_scoring`."""
    warning: str
    """As of `reading.read_for_scoring`."""
    spacing: tuple[float, float] | None = None
    """Millimetres from row to row and from column to column, by a DICOM's header."""
    sides: tuple[str, str] = ("", "")
    """The patient's sides at the left and at the right edge by a DICOM's header: R, L or empty."""
    study: str = ""
    """A DICOM's Study Instance UID, or empty."""


def read_film(name: str, content: bytes) -> Film:
    """Decode an upload in a process of its own: what is scored, and the film for display.

    A grey DICOM is at the depth of its stored pixels, with all windows and VOI LUTs of the file.
    Deeper pictures are in 16 bits. Pictures of 8 bits or in colour are the greys themselves.

    Beside what scoring reads of a DICOM's header (`dicom.reading.TAGS`, none about the patient), it
    reads `dicom.film_header.FILM_TAGS`: names of windows, which are free text of the file and are
    for nobody but the sender, the pixels' spacing, and the study's number.

    Raises:
        ImageError: see `reading.decode`.
    """
    dicom = is_dicom(io.BytesIO(content), name)
    return _unpacked(*decode_apart(name, content, look=True, dicom=dicom))


def warm_up() -> None:
    """Start the process that decodes uploads, so that the first one does not wait for it."""
    with suppress(ImageError):  # it holds nothing but a DICOM's mark
        read_film("", bytes(MARK_PLACE) + DICOM_MARK)


def film_content(name: str, content: bytes) -> Film:
    """Decode a film in this process without limits: for `apart_process`.

    Raises:
        ImageError: see `reading.decode`.
    """
    try:
        with QUIET:
            return _film(io.BytesIO(content), name)
    except Exception as error:
        raise named_error(error, name) from None


def _film(file: BinaryIO, name: str) -> Film:
    header = {}
    if is_dicom(file, name):
        from cxrtool.images.dicom.reading import read_dicom_film

        picture, depth, found = read_dicom_film(file)
        header = vars(found)
    else:
        picture, depth = read_picture_film(examine_picture(file))
    read = finished(picture, look=True)
    depth = depth or as_stored(read.grey)
    return Film(**vars(depth), **header, grey=read.grey, warning=read.warning)


def packed(film: Film) -> tuple[dict[str, Any], tuple[bytes | memoryview, ...]]:
    """A film as the message that `read_film` receives from the decoding process."""
    values = np.ascontiguousarray(film.values)
    facts = {
        "size": film.grey.size,
        "warning": film.warning,
        "bits": 8 * values.itemsize,
        "slope": film.slope,
        "intercept": film.intercept,
        "white_is_zero": film.white_is_zero,
        "presentations": [one.as_json() for one in film.presentations],
        "spacing": film.spacing,
        "sides": film.sides,
        "study": film.study,
    }
    # Bytes alike, not numbers: 8-bit values may lie in 16 bits.
    same = values.itemsize == 1 and np.array_equal(values, np.asarray(film.grey))
    return facts, (values.data.cast("B"), b"" if same else film.grey.tobytes())


def _unpacked(facts: dict[str, Any], pixels: bytes) -> Film:
    """What was `packed`."""
    (width, height), bits = facts["size"], facts["bits"]
    values = np.frombuffer(pixels, f"u{bits // 8}", width * height).reshape(height, width)
    greys = pixels[values.nbytes :] or pixels  # left out where they are the values
    return Film(
        grey=Image.frombytes("L", (width, height), greys),
        warning=facts["warning"],
        values=values,
        slope=facts["slope"],
        intercept=facts["intercept"],
        white_is_zero=facts["white_is_zero"],
        presentations=tuple(presentation_from(one) for one in facts["presentations"]),
        spacing=facts["spacing"] and tuple(facts["spacing"]),
        sides=tuple(facts["sides"]),
        study=facts["study"],
    )
