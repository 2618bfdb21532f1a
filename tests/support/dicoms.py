"""DICOM files for the tests, with a patient in them whose name must never be told."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

NAME, NUMBER = "Testperson^Secret", "ID-4711"


def dataset(pixels, bits=None, syntax=ExplicitVRLittleEndian, **elements):
    """A grey or RGB image (rows, columns[, 3]); `elements` replace and add to its own."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SOPClassUID = ComputedRadiographyImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientID = NAME, NUMBER
    made.Modality = "CR"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    order = "<" if syntax.is_little_endian else ">"
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made.PixelData = content + bytes(len(content) % 2)
    made["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def saved(path, made, **options):
    made.save_as(path, enforce_file_format=True, **options)
    return path


def dicom(path, pixels, bits=None, **elements):
    """A DICOM file that is not compressed."""
    return saved(path, dataset(pixels, bits, **elements))


def compressed(path, stream, pixels, syntax, bits=None, **elements):
    """A DICOM file whose picture is `stream`; `pixels` say its size and kind."""
    made = dataset(pixels, bits, syntax, **elements)
    made.PixelData = encapsulate([stream])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return saved(path, made)


def fragmented(path, fragments, offsets, pixels, syntax, bits=None, **elements):
    """A DICOM file whose picture is in several items, after a table of any offsets."""
    items = [b"".join(one.to_bytes(4, "little") for one in offsets), *fragments]
    content = b""
    for item in items:
        even = item + bytes(len(item) % 2)
        content += b"\xfe\xff\x00\xe0" + len(even).to_bytes(4, "little") + even
    made = dataset(pixels, bits, syntax, **elements)
    made.PixelData = content + b"\xfe\xff\xdd\xe0" + bytes(4)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return saved(path, made)


def table(first, bits, entries, **more):
    """A sequence with one look-up table."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    kind = np.uint8 if bits == 8 else "<u2"
    item.add_new("LUTData", "OW", np.asarray(entries).astype(kind).tobytes())
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return Sequence([item])
