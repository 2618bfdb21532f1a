import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring, read_header
from tests.support.dicom_greys import (
    DEEP,
    SHALLOW,
    differs,
    greys,
    j2k,
    palette,
    refused,
    stretched,
    warning,
)
from tests.support.dicoms import NAME, compressed, dataset, dicom, saved, table
from tests.support.lossless import encode_lossless


def told_of(path):
    """Whatever is said of a file."""
    try:
        return warning(path)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_a_file_without_preamble_is_known_by_its_name(tmp_path, syntax):
    made = dataset(DEEP, 12, syntax)
    del made.file_meta
    options = {"implicit_vr": syntax.is_implicit_VR, "little_endian": True}
    made.save_as(tmp_path / "a.dcm", **options)
    assert (tmp_path / "a.dcm").read_bytes()[128:132] != b"DICM"
    assert differs(tmp_path / "a.dcm", stretched(DEEP)) <= 0.51


def test_content_wins_over_the_name(tmp_path):
    path = dicom(tmp_path / "a.jpg", DEEP, 12)
    assert differs(path, stretched(DEEP)) <= 0.51
    Image.fromarray(SHALLOW).save(tmp_path / "b.dcm", "PNG")
    assert (greys(tmp_path / "b.dcm") == SHALLOW).all()


def test_the_header_is_enough_for_size_and_kind(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PhotometricInterpretation="MONOCHROME1")
    path.write_bytes(path.read_bytes()[: -DEEP.nbytes])
    assert read_header(path) == (56, 40, "MONOCHROME1", "")


def test_pydicom_waits_for_the_first_dicom(tmp_path):
    Image.fromarray(SHALLOW).save(tmp_path / "a.png")
    dicom(tmp_path / "a.dcm", DEEP, 12)
    code = (
        "import sys\n"
        "from cxrtool.images.reading import read_for_scoring\n"
        "read_for_scoring('a.png')\n"
        "before = 'pydicom' in sys.modules\n"
        "read_for_scoring('a.dcm')\n"
        "print(before, 'pydicom' in sys.modules)\n"
    )
    told = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True)
    assert told == "False True\n"


def test_several_frames_are_refused_with_their_number(tmp_path):
    made = dataset(np.tile(SHALLOW, (12, 1)), Rows=40, NumberOfFrames=12)
    assert refused(saved(tmp_path / "a.dcm", made)) == "12 frames: only one frame per file is read"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (uid.EncapsulatedPDFStorage, "a DICOM without an image (Encapsulated PDF Storage)"),
        (uid.BasicTextSRStorage, "a DICOM without an image (Basic Text SR Storage)"),
        (uid.MediaStorageDirectoryStorage, "a DICOMDIR, which only lists other files: name those"),
        (uid.UID("1.2.3.4"), "a DICOM without an image"),
        (uid.CTImageStorage, "cut short before its image (CT Image Storage)"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, kind, told):
    made = dataset(DEEP, 12)
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(made, keyword)
    made.SOPClassUID = kind
    assert refused(saved(tmp_path / "a.dcm", made)) == told


def test_an_image_without_pixels_is_refused(tmp_path):
    made = dataset(DEEP, 12)
    del made.PixelData
    assert "cut short before its image" in refused(saved(tmp_path / "a.dcm", made))


@pytest.mark.parametrize(
    "elements",
    [
        {"PhotometricInterpretation": "XYZ"},
        {"SamplesPerPixel": 3},
        {"BitsAllocated": 32},
        {"BitsStored": 0},
        {"BitsStored": 17},
        {"PixelRepresentation": 2},
        {"Rows": 0},
        {"Columns": 60000},
        {"RescaleSlope": "nan", "RescaleIntercept": 0},
        {"RescaleSlope": "1e308", "RescaleIntercept": 0},
        {"RescaleSlope": 1, "RescaleIntercept": "-1e300"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, elements):
    with pydicom.config.disable_value_validation():
        made = dataset(DEEP, 12, **elements)
        assert refused(saved(tmp_path / "a.dcm", made))


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    path = dicom(tmp_path / "a.dcm", DEEP, 12)
    path.write_bytes(path.read_bytes()[: -DEEP.nbytes])
    assert refused(path) == "more pixels than 2,000"
    with pytest.raises(ImageError, match="more pixels"):
        read_header(path)


def test_a_deflated_file_that_swells_is_refused_in_little_memory(tmp_path):
    made = dataset(DEEP, 12, uid.DeflatedExplicitVRLittleEndian)
    made.add_new(0x00091001, "OB", bytes(100_000_000))
    path = saved(tmp_path / "a.dcm", made)
    del made
    assert path.stat().st_size < 1_000_000
    code = (
        "import resource, sys\n"
        "from cxrtool.images.errors import ImageError\n"
        "from cxrtool.images.reading import read_file\n"
        "from PIL import Image\n"
        "import cxrtool.images.dicom.reading\n"
        "Image.MAX_IMAGE_PIXELS = 10_000_000\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try: read_file('a.dcm', look=True)\n"
        "except ImageError as error: print(error)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    told, kilobytes = done.stdout.splitlines()
    assert "more pixels than" in told
    assert int(kilobytes) < 20_000 * (1 if sys.platform == "linux" else 1024)


def test_nothing_of_the_patient_is_told(tmp_path, capfd, caplog, recwarn):
    """Not where the values that are read are the patient's name, by fault or on purpose."""
    path = dicom(
        tmp_path / "whole.dcm", DEEP, 12, WindowCenter=5, WindowWidth=9, BodyPartExamined="CHEST"
    )
    whole = path.read_bytes()
    for place in range(132, len(whole) - DEEP.nbytes - 10, 7):
        changed = bytearray(whole)
        changed[place : place + len(NAME)] = NAME.encode()
        (tmp_path / "a.dcm").write_bytes(changed)
        assert "Testperson" not in told_of(tmp_path / "a.dcm")
    path = dicom(path, DEEP, 12, WindowCenter="1234567890.12345", WindowWidth=9)
    path.write_bytes(path.read_bytes().replace(b"1234567890.12345", NAME[:16].encode()))
    assert "its WindowCenter is not a number" in told_of(path)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert list(recwarn) == []


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_refused_or_read_and_nothing_else_happens(tmp_path, seed):
    random = np.random.default_rng(seed)
    runs = dataset(DEEP, 12)
    runs.compress(uid.RLELossless, encoding_plugin="pydicom")
    near = dataset(DEEP, 12)
    near.compress(uid.JPEGLSLossless, encoding_plugin="pyjpegls")
    lossless = encode_lossless(DEEP, 12)
    whole = [
        path.read_bytes()
        for path in (
            dicom(tmp_path / "1.dcm", DEEP, 12, VOILUTSequence=table(0, 12, np.arange(4096))),
            compressed(tmp_path / "2.dcm", lossless, DEEP, uid.JPEGLosslessSV1, 12),
            compressed(tmp_path / "3.dcm", j2k(DEEP), DEEP, uid.JPEG2000Lossless, 12),
            saved(tmp_path / "4.dcm", runs),
            saved(tmp_path / "5.dcm", near),
            dicom(tmp_path / "6.dcm", DEEP, 12, syntax=uid.DeflatedExplicitVRLittleEndian),
            dicom(tmp_path / "7.dcm", SHALLOW, **palette(np.stack([np.arange(256)] * 3, 1))),
        )
    ]
    for turn in range(210):
        content = bytearray(whole[turn % len(whole)])
        for place in random.integers(132, len(content), random.integers(1, 9)):
            content[place] = random.integers(256)
        if turn % 4 == 0:
            del content[random.integers(132, len(content)) :]
        (tmp_path / "a.dcm").write_bytes(content)
        try:
            grey, _ = read_for_scoring(tmp_path / "a.dcm")
        except ImageError:
            continue
        assert grey.mode == "L"
