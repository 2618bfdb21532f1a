"""What a DICOM's header must say of its pixels (PS3.3, C.7.6.3), and what is assumed if not."""

from PIL import Image
from pydicom import uid
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileDataset

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.film_header import FILM_TAGS
from cxrtool.images.dicom.numbers import NUMBERS, make_whole
from cxrtool.images.dicom.stored import standard_name

GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"
SHAPES = {"IDENTITY": "MONOCHROME2", "INVERSE": "MONOCHROME1"}
"""The Photometric Interpretation of a Presentation LUT Shape."""
SAMPLES = {**dict.fromkeys((*GREYS, PALETTE), 1), **dict.fromkeys(COLOURS, 3)}
"""Samples per Pixel, by Photometric Interpretation."""


def check_header(dataset: FileDataset) -> list[str]:
    """Refuse a file without an image, with several, or with an unsupported one.

    Elements that are missing and follow from others are added.

    Returns:
        What was assumed.

    Raises:
        DicomError: why it cannot be read, by the element.
        Image.DecompressionBombError: more pixels than Pillow's limit.
    """
    make_whole(dataset)
    _check_values(dataset)
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise DicomError(without_image(dataset))
    frames = dataset.get("NumberOfFrames") or 1
    if frames > 1:
        raise DicomError(f"{frames:,} frames: only one frame per file is read")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and dataset.Rows * dataset.Columns > limit:
        raise Image.DecompressionBombError
    _check_interpretation(dataset)
    return [*_check_bits(dataset), *_check_sign(dataset), *_check_planes(dataset)]


def _check_values(dataset: FileDataset) -> None:
    """Refuse values that pydicom cannot convert, unless they are read without it."""
    for part in (dataset.file_meta, dataset):
        for tag in list(part.keys()):
            keyword = keyword_for_tag(tag)
            if keyword in (*NUMBERS, *FILM_TAGS):
                continue
            try:
                part[tag]
            except Exception:  # nearly anything, with the value in its message
                raise DicomError(f"its {keyword or tag} is damaged") from None
    if not isinstance(dataset.file_meta.TransferSyntaxUID, str):
        raise DicomError("its TransferSyntaxUID is damaged")


def _check_interpretation(dataset: FileDataset) -> None:
    said = dataset.get("PhotometricInterpretation")
    if not said:
        raise DicomError(
            "it has no Photometric Interpretation: whether its least value is black is not known"
        )
    mode = str(said).strip(" \0").upper()
    if not dataset.get("SamplesPerPixel") and mode in SAMPLES:
        dataset.SamplesPerPixel = SAMPLES[mode]
    if SAMPLES.get(mode, 0) != dataset.get("SamplesPerPixel"):
        raise DicomError("neither a grey nor a colour picture by its Photometric Interpretation")
    dataset.PhotometricInterpretation = mode


def _check_bits(dataset: FileDataset) -> list[str]:
    allocated, stored, high = (
        dataset.get(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit")
    )
    assumed = []
    if stored is None and allocated in (8, 16):
        stored = high + 1 if isinstance(high, int) and 0 <= high < allocated else allocated
        dataset.BitsStored = stored
        assumed.append(f"it has no Bits Stored: read as {stored}")
    if allocated not in (8, 16) or not stored or not 1 <= stored <= allocated:
        raise DicomError(
            "its pixels do not have 8 to 16 bits, by its Bits Allocated and Bits Stored"
        )
    return assumed


def _check_sign(dataset: FileDataset) -> list[str]:
    sign = dataset.get("PixelRepresentation")
    if sign is None:
        dataset.PixelRepresentation = 0
        return ["it has no Pixel Representation: read as unsigned"]
    if sign not in (0, 1):
        raise DicomError("its Pixel Representation is neither unsigned nor signed")
    return []


def _check_planes(dataset: FileDataset) -> list[str]:
    if dataset.SamplesPerPixel == 1 or dataset.get("PlanarConfiguration") in (0, 1):
        return []
    dataset.PlanarConfiguration = 0
    return ["it has no usable Planar Configuration: read as colours pixel by pixel"]


def contradictions(dataset: FileDataset) -> list[str]:
    """What a header says twice, and differently; the values are terms of the standard.

    A Presentation LUT Shape says by another word which end is white: IDENTITY goes with
    MONOCHROME2, INVERSE with MONOCHROME1 (PS3.3, C.11.6.1.2).
    """
    shape, mode = str(dataset.get("PresentationLUTShape")), dataset.PhotometricInterpretation
    if mode in GREYS and SHAPES.get(shape, mode) != mode:
        return [
            f"its Presentation LUT Shape ({shape}) contradicts its Photometric Interpretation "
            f"({mode}): shown by the latter"
        ]
    return []


def without_image(dataset: FileDataset) -> str:
    """Describe a file without an image, if the standard has a name for it."""
    kind = dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID")
    if kind == uid.MediaStorageDirectoryStorage:
        return "a DICOMDIR, which only lists other files: name those"
    name = standard_name(kind)
    if not name:
        return "a DICOM without an image"
    what = "cut short before its image" if "Image" in name else "a DICOM without an image"
    return f"{what} ({name})"
