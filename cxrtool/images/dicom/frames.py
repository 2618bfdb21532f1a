"""The one compressed picture in a DICOM's encapsulated pixels (PS3.5, A.4 and annex G).

A file of one frame may divide it into any number of fragments, and programs write tables of offsets
that point at each of them, or nowhere. With one frame the table says nothing that is needed, so it
is not read: all fragments are joined.
"""

from typing import NamedTuple

from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.uid import UID

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.codestreams import CODESTREAM_2000, START_OF_IMAGE, Coding, coding_of

SYNTAXES = {
    Coding.BASELINE: (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    Coding.EXTENDED: (uid.JPEGExtended12Bit, uid.JPEGBaseline8Bit),
    Coding.LOSSLESS: (uid.JPEGLosslessSV1, uid.JPEGLossless),
    Coding.JPEG_LS: (uid.JPEGLSLossless, uid.JPEGLSNearLossless),
    Coding.JPEG_2000: (
        uid.JPEG2000Lossless,
        uid.JPEG2000,
        uid.JPEG2000MCLossless,
        uid.JPEG2000MC,
        uid.HTJ2K,
        uid.HTJ2KLossless,
        uid.HTJ2KLosslessRPCL,
    ),
}
"""The transfer syntaxes of a coding (PS3.5, A.4.1 to A.4.4), first the one taken for it."""
FRAGMENT = b"\xfe\xff\x00\xe0"
"""The tag with which each fragment begins (PS3.5, A.4)."""
STARTS = (START_OF_IMAGE + b"\xff", CODESTREAM_2000)


class Frame(NamedTuple):
    """A compressed picture, and how it is coded."""

    stream: bytes
    syntax: UID
    """By the stream itself: some files name another one."""
    warning: str


def frame_of(dataset: FileDataset) -> Frame:
    """Join the fragments of a file's only frame.

    The dataset's Pixel Data and Transfer Syntax become those of the frame.

    Raises:
        DicomError: there is no fragment, or their bytes are damaged.
    """
    said = UID(dataset.file_meta.TransferSyntaxUID)
    fragments = _fragments(dataset.PixelData)
    warnings = []
    if said != uid.RLELossless:
        begun = [n for n, one in enumerate(fragments) if one.startswith(STARTS)]
        if len(begun) > 1:
            fragments = fragments[begun[0] : begun[1]]
            warnings.append(f"the first of {len(begun)} pictures in its pixels")
    stream = fragments[0] if len(fragments) == 1 else b"".join(fragments)
    syntax = said
    if said != uid.RLELossless:
        suiting = SYNTAXES.get(coding_of(stream), (said,))
        if said not in suiting:
            syntax = suiting[0]
            warnings.append(f"its pixels are {syntax.name}, and it says {said.name}")
    dataset.PixelData = encapsulate([stream], has_bot=False)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return Frame(stream, syntax, "; ".join(warnings))


def _fragments(content: bytes) -> list[bytes]:
    """The fragments, without the table of offsets, which is the first item (PS3.5, A.4)."""
    try:
        found = list(generate_fragments(content))
    except Exception:  # of other types in other releases
        raise DicomError("its compressed pixels are damaged between their fragments") from None
    without = found[1:] if not found or not found[0].startswith(STARTS) else found
    if not any(without):
        raise DicomError("its compressed pixels are empty")
    return without
