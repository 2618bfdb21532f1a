"""Read a DICOM file as an 8-bit picture, with warnings; for display also at its full depth."""

import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from pydicom import dcmread, uid
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset, read_preamble

from cxrtool.images.depth import shallow_colours
from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.film_header import FILM_TAGS, FilmHeader, read_film_header
from cxrtool.images.dicom.image_header import (
    GREYS,
    PALETTE,
    check_header,
    contradictions,
    without_image,
)
from cxrtool.images.dicom.orientation import Upright, put_upright
from cxrtool.images.dicom.plausible import implausible
from cxrtool.images.dicom.presentation import full_depth, palette_colours, shown_greys
from cxrtool.images.dicom.stored import stored_values
from cxrtool.images.formats.dicom import PIXEL_DATA
from cxrtool.images.pictures import Picture, PictureHeader
from cxrtool.images.presentations import FullDepth

# Its log quotes values, which may be the patient's.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

TAGS = (
    "SOPClassUID",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "PresentationIntentType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "RedPaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableData",
)
"""The only elements that are read: none about the patient. For a film also those in `FILM_TAGS`."""

FULL_DEPTH = 16
"""Bits Stored of colours that may have fewer: programs write it where they do not know."""
INFLATED_AT_ONCE = 1 << 20


def read_dicom(file: BinaryIO) -> Picture:
    """Decode a DICOM file with one image.

    Raises:
        DicomError: it has no image or several, is damaged, or of an unsupported kind.
        Image.DecompressionBombError: more pixels than Pillow's limit.
        MemoryError: more than this machine can hold.
    """
    with _nothing_private():
        return _picture(_read_all(file))[0]


def read_dicom_film(file: BinaryIO) -> tuple[Picture, FullDepth | None, FilmHeader]:
    """Decode a DICOM file with one image for display: like `read_dicom`, and at its full depth.

    Reads the elements of `FILM_TAGS` too. There is no full depth of a picture in colour.

    Raises: see `read_dicom`.
    """
    with _nothing_private():
        read = _read_all(file, FILM_TAGS)
        picture, depth = _picture(read, film=True)
        return picture, depth, read_film_header(read.dataset, lying=read.upright.lying)


def read_dicom_header(file: BinaryIO) -> PictureHeader:
    """What an image is by its header, upright, without reading its pixels.

    Raises: see `read_dicom`.
    """
    with _nothing_private():
        read = _checked(_read(file, pixels=False))
        width, height = read.dataset.Columns, read.dataset.Rows
        if read.upright.lying:
            width, height = height, width
        mode = str(read.dataset.PhotometricInterpretation)
        return PictureHeader(width, height, mode, "; ".join(read.doubts))


@contextmanager
def _nothing_private() -> Iterator[None]:
    """Replace pydicom's errors, which may quote patient data, by their kind."""
    try:
        yield
    except (DicomError, Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:
        raise DicomError(f"cannot be decoded ({type(error).__name__})") from None


class _Read(NamedTuple):
    """A file whose header is that of an image."""

    dataset: FileDataset
    """With the orientation of the upright picture."""
    upright: Upright
    assumed: list[str]
    """What the header does not say."""

    @property
    def doubts(self) -> list[str]:
        """What the header says against the picture, and what it does not say."""
        turned = [self.upright.warning] if self.upright.warning else []
        return [*self.assumed, *contradictions(self.dataset), *turned, *implausible(self.dataset)]


def _picture(read: _Read, *, film: bool = False) -> tuple[Picture, FullDepth | None]:
    dataset, depth = read.dataset, None
    mode = str(dataset.PhotometricInterpretation)
    stored, warnings = stored_values(dataset)
    if mode in GREYS:
        shown = shown_greys(stored, dataset)
        colours = shown.greys
        warnings = [*filter(None, [shown.warning]), *warnings]
        depth = full_depth(stored, dataset, shown) if film else None
    elif mode == PALETTE:
        colours = palette_colours(stored, dataset)
    elif dataset.BitsStored == FULL_DEPTH:
        colours, lost = shallow_colours(stored.astype(np.uint16, copy=False))
        warnings = [*warnings, *filter(None, [lost])]
    else:
        colours = (stored >> max(dataset.BitsStored - 8, 0)).astype(np.uint8)
    image, turn = Image.fromarray(colours), read.upright.turn
    if turn is not None:
        image, depth = image.transpose(turn), depth and depth.turned(turn)
    return Picture(image, mode, "; ".join((*warnings, *read.doubts))), depth


def _read_all(file: BinaryIO, more: Sequence[str] = ()) -> _Read:
    """Read a file with its pixels, once its header is known to be that of an image."""
    _checked(_read(file, pixels=False))
    at_pixels = file.read(4) in PIXEL_DATA
    dataset = _read(file, pixels=True, more=more)
    if "PixelData" not in dataset:
        raise DicomError("cut short in its pixels" if at_pixels else without_image(dataset))
    return _checked(dataset)


def _checked(dataset: FileDataset) -> _Read:
    assumed = check_header(dataset)
    return _Read(dataset, put_upright(dataset), assumed)


def _read(file: BinaryIO, *, pixels: bool, more: Sequence[str] = ()) -> FileDataset:
    tags = [*TAGS, *more, "PixelData"] if pixels else TAGS
    try:
        check_inflated_size(file)
        file.seek(0)
        dataset = dcmread(file, stop_before_pixels=not pixels, force=True, specific_tags=list(tags))
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # nearly anything, OSError too, with values in its message
        raise DicomError("its header is damaged, or it is no DICOM file") from None
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else plain
    return dataset


def check_inflated_size(file: BinaryIO) -> None:
    """Refuse a deflated file larger than any image: pydicom inflates it whole."""
    file.seek(0)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    rest = file.read(INFLATED_AT_ONCE)
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, INFLATED_AT_ONCE))
        if size > 2 * limit + INFLATED_AT_ONCE:
            raise Image.DecompressionBombError
        rest = inflater.unconsumed_tail or file.read(INFLATED_AT_ONCE)
