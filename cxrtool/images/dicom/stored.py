"""A DICOM's stored pixels, from every supported encoding."""

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.codestreams import read_frame_header
from cxrtool.images.dicom.jpeg_lossless import decode_lossless
from cxrtool.images.formats.jpeg import has_one_header, jpeg_damage

LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
ORDINARY_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
DECODERS = ("pydicom", "pillow", "pyjpegls", "pylibjpeg")
"""pydicom's plugins in order of preference. Not GDCM: one damaged byte can crash the process."""
PACKAGES = {
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEGExtended12Bit: "pylibjpeg pylibjpeg-libjpeg",
    uid.HTJ2K: "pylibjpeg pylibjpeg-openjpeg",
    uid.HTJ2KLossless: "pylibjpeg pylibjpeg-openjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg pylibjpeg-openjpeg",
}
"""What to install for encodings that the dependencies do not decode."""
RUNS_HEADER = 64
"""Bytes before the runs of RLE (PS3.5, G.5)."""


def standard_name(identifier: str | None) -> str:
    """The standard's name of a UID; empty for an unknown one, which may hold anything."""
    name = uid.UID(identifier or "").name
    return "" if name == identifier else name


def stored_values(dataset: FileDataset) -> NDArray[np.integer]:
    """The stored pixels: (rows, columns), or (rows, columns, 3) in RGB.

    Raises:
        DicomError: they are truncated, damaged, or in an unsupported encoding.
        Exception: whatever a decoder raises on damaged ones.
    """
    syntax = uid.UID(dataset.file_meta.TransferSyntaxUID)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        name = standard_name(syntax) or "a private encoding"
        raise DicomError(f"its pixels are coded in {name}, which is not read") from None
    if not decoder.is_encapsulated:
        _check_length(dataset)
        return pixel_array(dataset, index=0)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if syntax == uid.RLELossless:
        _check_runs(frame, dataset)
    else:
        _check_frame(frame, dataset)
    if syntax in LOSSLESS and dataset.SamplesPerPixel == 1:
        return _unused_bits_removed(decode_lossless(frame), dataset)
    if syntax in ORDINARY_JPEG and not has_one_header(frame):
        raise DicomError("its compressed picture is damaged: it has two headers, or none")
    there = [name for name in DECODERS if name in decoder.available_plugins]
    if syntax == uid.JPEGExtended12Bit and dataset.BitsStored > 8:
        there = [name for name in there if name != "pillow"]
    if not there:
        package = PACKAGES.get(syntax, "pylibjpeg pylibjpeg-libjpeg")
        raise DicomError(f"its pixels are coded in {syntax.name}: pip install {package}")
    return pixel_array(dataset, index=0, decoding_plugin=there[0])


def damage_of(dataset: FileDataset) -> str:
    """Damage that libjpeg reports of an 8-bit JPEG, which pydicom's decoders hide; or empty."""
    if dataset.file_meta.TransferSyntaxUID not in ORDINARY_JPEG or dataset.BitsStored > 8:
        return ""
    said = jpeg_damage(get_frame(dataset.PixelData, 0, number_of_frames=1), int(dataset.Rows))
    return f"damaged: {said}" if said else ""


def _bytes_of_pixels(dataset: FileDataset, samples: int) -> int:
    return int(dataset.Rows * dataset.Columns * samples * dataset.BitsAllocated // 8)


def _check_length(dataset: FileDataset) -> None:
    """Refuse uncompressed pixels that are incomplete."""
    if dataset["PixelData"].is_undefined_length:
        raise DicomError("its pixels are compressed, and it does not say how")
    halved = dataset.PhotometricInterpretation == "YBR_FULL_422"
    whole = _bytes_of_pixels(dataset, 2 if halved else dataset.SamplesPerPixel)
    if len(dataset.PixelData) < whole:
        raise DicomError(f"cut short: {len(dataset.PixelData):,} of {whole:,} bytes of its pixels")


def _check_runs(frame: bytes, dataset: FileDataset) -> None:
    """Refuse runs far longer than the picture: each byte may stand for 64."""
    if len(frame) > 2 * _bytes_of_pixels(dataset, dataset.SamplesPerPixel) + RUNS_HEADER:
        raise DicomError("its compressed picture is longer than its pixels")


def _check_frame(frame: bytes, dataset: FileDataset) -> None:
    """Refuse a compressed picture whose size differs from the file's; see `codestreams`."""
    inside = read_frame_header(frame)
    said = dataset.Columns, dataset.Rows, dataset.SamplesPerPixel
    if (inside.width, inside.height, inside.components) != said or inside.precision > 16:
        raise DicomError(
            f"its compressed picture is {inside.width}x{inside.height}, of {inside.components} "
            f"samples of {inside.precision} bits; the file says {said[0]}x{said[1]} of {said[2]}"
        )


def _unused_bits_removed(samples: NDArray[np.uint16], dataset: FileDataset) -> NDArray[np.integer]:
    """Samples with their sign, without other content in the unused bits."""
    unused = 16 - dataset.BitsStored
    signed = samples.view(np.int16) if dataset.PixelRepresentation else samples
    result: NDArray[np.integer] = (signed << unused) >> unused
    return result
