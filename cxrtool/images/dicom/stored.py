"""A DICOM's stored pixels, from every supported encoding."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import pixel_array

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.bits import used_bits, with_likelier_sign
from cxrtool.images.dicom.codestreams import Coding, FrameHeader, is_coded_signed, read_frame_header
from cxrtool.images.dicom.frames import FRAGMENT, SYNTAXES, Frame, frame_of
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


def standard_name(identifier: object) -> str:
    """The standard's name of a UID; empty for an unknown one, which may hold anything."""
    text = str(identifier or "")
    name = uid.UID(text).name
    return "" if name == text else name


class Stored(NamedTuple):
    """A DICOM's stored pixels."""

    values: NDArray[np.integer]
    """(rows, columns), or (rows, columns, 3) in RGB."""
    warnings: list[str]
    """What contradicts the header, and damage that a decoder reports."""


def stored_values(dataset: FileDataset) -> Stored:
    """Decode the stored pixels; what contradicts them is corrected in the dataset.

    Raises:
        DicomError: they are truncated, damaged, or in an unsupported encoding.
        Exception: whatever pydicom raises on damaged ones.
    """
    if not _decoder(dataset).is_encapsulated and not _is_in_fragments(dataset):
        _check_length(dataset)
        found = used_bits(_by_pydicom(dataset), dataset)
        return Stored(found.values, [*filter(None, [found.warning])])
    frame = frame_of(dataset)
    if not frame.syntax.is_encapsulated:
        raise DicomError("its pixels are compressed, and neither it nor they say how")
    words, damage = _decoded(frame, dataset)
    found = used_bits(words, dataset)
    return Stored(found.values, [*filter(None, (frame.warning, damage, found.warning))])


def _decoder(dataset: FileDataset) -> Decoder:
    """pydicom's decoder of a file's transfer syntax."""
    syntax = uid.UID(dataset.file_meta.TransferSyntaxUID)
    try:
        return get_decoder(syntax)
    except NotImplementedError:
        name = standard_name(syntax) or "a private encoding"
        raise DicomError(f"its pixels are coded in {name}, which is not read") from None


def _decoded(frame: Frame, dataset: FileDataset) -> tuple[NDArray[np.integer], str]:
    """Decode a compressed picture, with what is doubtful about it, or empty."""
    stream, syntax = frame.stream, frame.syntax
    if syntax == uid.RLELossless:
        _check_runs(stream, dataset)
        return _by_plugin(dataset, list(DECODERS)), ""
    inside = _check_frame(stream, dataset)
    if syntax in LOSSLESS and dataset.SamplesPerPixel == 1:
        samples = decode_lossless(stream)
        return samples.view(np.int16) if dataset.PixelRepresentation else samples, ""
    if syntax in SYNTAXES[Coding.JPEG_2000]:
        words = _by_plugin(dataset, list(DECODERS))
        return with_likelier_sign(words, dataset, coded_signed=is_coded_signed(stream))
    if syntax not in ORDINARY_JPEG:
        return _by_plugin(dataset, list(DECODERS)), ""
    if not has_one_header(stream):
        raise DicomError("its compressed picture is damaged: it has two headers, or none")
    if inside.precision > 8:
        return _by_plugin(dataset, [name for name in DECODERS if name != "pillow"]), ""
    # Decoders give bytes of 8-bit samples, also where the file keeps room for 16.
    dataset.BitsAllocated, dataset.BitsStored = 8, min(dataset.BitsStored, 8)
    # pydicom's decoders hide what libjpeg says.
    said = jpeg_damage(stream, int(dataset.Rows))
    return _by_plugin(dataset, list(DECODERS)), f"damaged: {said}" if said else ""


def _by_plugin(dataset: FileDataset, plugins: list[str]) -> NDArray[np.integer]:
    """Decode by the first of pydicom's plugins that is installed."""
    syntax = uid.UID(dataset.file_meta.TransferSyntaxUID)
    there = [name for name in plugins if name in get_decoder(syntax).available_plugins]
    if not there:
        package = PACKAGES.get(syntax, "pylibjpeg pylibjpeg-libjpeg")
        raise DicomError(f"its pixels are coded in {syntax.name}: pip install {package}")
    try:
        return _by_pydicom(dataset, there[0])
    except RuntimeError:  # pydicom's of a plugin that failed; it may quote anything
        raise DicomError(
            f"its compressed picture is damaged, or not {syntax.name}: no decoder reads it"
        ) from None


def _by_pydicom(dataset: FileDataset, plugin: str = "") -> NDArray[np.integer]:
    """The words of the pixels, with all their bits."""
    words: NDArray[np.integer] = pixel_array(
        dataset, index=0, decoding_plugin=plugin, correct_unused_bits=False
    )
    return words


def _bytes_of_pixels(dataset: FileDataset, samples: int) -> int:
    return int(dataset.Rows * dataset.Columns * samples * dataset.BitsAllocated // 8)


def _length(dataset: FileDataset) -> int:
    """The bytes of a file's pixels, uncompressed."""
    halved = dataset.PhotometricInterpretation == "YBR_FULL_422"
    return _bytes_of_pixels(dataset, 2 if halved else dataset.SamplesPerPixel)


def _is_in_fragments(dataset: FileDataset) -> bool:
    """Whether a file that says that its pixels are not compressed has them in fragments."""
    if dataset["PixelData"].is_undefined_length:
        return True
    short = len(dataset.PixelData) < _length(dataset)
    return short and bool(dataset.PixelData.startswith(FRAGMENT))


def _check_length(dataset: FileDataset) -> None:
    """Refuse uncompressed pixels that are incomplete."""
    whole = _length(dataset)
    if len(dataset.PixelData) < whole:
        raise DicomError(f"cut short: {len(dataset.PixelData):,} of {whole:,} bytes of its pixels")


def _check_runs(frame: bytes, dataset: FileDataset) -> None:
    """Refuse runs far longer than the picture: each byte may stand for 64."""
    if len(frame) > 2 * _bytes_of_pixels(dataset, dataset.SamplesPerPixel) + RUNS_HEADER:
        raise DicomError("its compressed picture is longer than its pixels")


def _check_frame(frame: bytes, dataset: FileDataset) -> FrameHeader:
    """Refuse a compressed picture whose size differs from the file's; see `codestreams`."""
    inside = read_frame_header(frame)
    said = dataset.Columns, dataset.Rows, dataset.SamplesPerPixel
    if (inside.width, inside.height, inside.components) != said or inside.precision > 16:
        raise DicomError(
            f"its compressed picture is {inside.width}x{inside.height}, of {inside.components} "
            f"samples of {inside.precision} bits; the file says {said[0]}x{said[1]} of {said[2]}"
        )
    return inside
