"""What a file is, by its first bytes."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_grey
from cxrtool.images.signatures import (
    START,
    has_dicom_mark,
    is_bare_dicom,
    is_picture,
    other_kind,
)
from tests.support.dicoms import dataset, saved
from tests.support.greys import RAMP


def written(kind, **options):
    file = io.BytesIO()
    Image.fromarray(RAMP).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {}), ("TIFF", {}), ("TIFF", {"big_tiff": True})]
)
def test_pictures_are_known(kind, options):
    assert is_picture(written(kind, **options)[:START])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (written("GIF"), "a GIF"),
        (written("BMP"), "a BMP"),
        (written("WEBP"), "a WebP"),
        (written("PPM"), "a PGM or PPM"),
        (written("JPEG2000"), "a JPEG 2000"),
        (written("JPEG2000", no_jp2=True), "a JPEG 2000"),
        (written("PDF"), "a PDF"),
        (b"\x1f\x8b\x08", "compressed by gzip: unpack it"),
        (b"PK\x03\x04", "a ZIP archive: unpack it"),
        (b"BMW, P5, GIF and so on", ""),
        (b"", ""),
    ],
)
def test_what_is_not_read_is_named(tmp_path, content, kind):
    assert other_kind(content[:START]) == kind
    assert not is_picture(content)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_grey(tmp_path / "a.jpg")
    told = "not a JPEG, PNG, TIFF or DICOM image" + f", but {kind}" * bool(kind)
    assert str(caught.value) == f"{tmp_path / 'a.jpg'}: {told}"


def bare(path, syntax, *, meta):
    """A DICOM without preamble and mark, with its group 2 or without."""
    made = dataset(RAMP, 8, syntax)
    if meta:
        saved(path, made)
        return path.read_bytes()[132:]
    del made.file_meta
    made.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    return path.read_bytes()


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False])
def test_a_dicom_without_its_mark_is_known_by_its_elements_and_read(tmp_path, syntax, meta):
    content = bare(tmp_path / "a.dcm", syntax, meta=meta)
    assert not has_dicom_mark(content)
    assert is_bare_dicom(content[:START])
    (tmp_path / "IM_0001").write_bytes(content)
    assert (np.asarray(read_grey(tmp_path / "IM_0001")) == RAMP).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(START),
        b"\x08\x00",
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100 and then a text that is no element",
        b"\x08\x00 a text that begins with the number 8",
        b"\x02\x00" * (START // 2),
        np.arange(START // 2, dtype=np.uint16).tobytes(),
    ],
)
def test_other_bytes_are_no_dicom(content):
    assert not is_bare_dicom(content)
