"""What can be taken along: a page, and results as DICOM."""

import io
import zipfile

import numpy as np
import pydicom
import pytest
from pypdf import PdfReader

from cxrtool import pacs
from tests.support.dicoms import NAME, dicom
from tests.support.gui import LABELS, png
from tests.support.serving import form

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")


@pytest.fixture
def study(tmp_path):
    """Two films of one study: names and contents."""
    pixels = np.linspace(0, 4000, 64 * 48).reshape(64, 48).astype(np.uint16)
    about = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "BodyPartExamined": "CHEST"}
    about |= {"StudyDate": "20200101", "StudyTime": "120000", "PatientSex": "F"}
    return [
        (f"{n}.dcm", dicom(tmp_path / f"{n}.dcm", pixels, bits=12, **about).read_bytes())
        for n in (1, 2)
    ]


@pytest.fixture
def raw(asked):
    """Status, body and headers of the answer to files."""

    def send(path, *files, **fields):
        body, kind = form(files, fields)
        status, _ = asked("POST", path, [body], content_type=kind)
        return status, asked.body, asked.headers

    return send


def test_a_page_is_of_the_image_the_model_and_the_finding_that_are_named(raw):
    status, content, headers = raw(
        "/api/pdf", ("film 7.png", png(51)), model="other", label="Edema"
    )
    assert (status, headers["content-type"]) == (200, "application/pdf")
    (page,) = PdfReader(io.BytesIO(content)).pages
    text = page.extract_text()
    for words in ("film 7.png", "other", "Research only", *LABELS):
        assert words in text


def test_a_page_without_a_finding_named_is_of_the_most_probable_positive_one(raw):
    for level, words in (
        (120, "What speaks for: Edema"),
        (20, "Fracture: nothing"),
    ):  # of 120 Edema alone is positive
        _, content, _ = raw("/api/pdf", ("a.png", png(level)))
        text = PdfReader(io.BytesIO(content)).pages[0].extract_text()
        assert words in " ".join(text.split())


@pytest.mark.parametrize(
    ("files", "fields", "words"),
    [
        ([("a.png", b"x")], {}, b"a.png: not a"),
        ([("a.png", png(9)), ("b.png", png(9))], {}, b"one file"),
        ([("a.png", png(9))], {"label": "Nothing"}, b"no such finding"),
        ([("a.png", png(9))], {"model": "none"}, b"made-up, other"),
    ],
)
def test_a_page_that_cannot_be_is_refused_in_words(raw, files, fields, words):
    status, content, _ = raw("/api/pdf", *files, **fields)
    assert status == 422
    assert words in content


def test_a_studys_results_are_a_report_and_a_picture_of_each_positive_finding(raw, study):
    status, content, headers = raw("/api/dicom", *study)
    assert (status, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    report, *pictures = found
    assert report.Modality == "SR"
    assert {one.StudyInstanceUID for one in found} == {"1.2.3"}
    assert str(report.PatientName) == NAME
    positive = [one for one in pictures if "Edema" in str(one.ImageComments)]
    assert len(pictures) == len(positive) == 2  # one of each film: Edema is over its threshold


def test_what_is_no_dicom_or_of_two_studies_is_refused(raw, study, tmp_path):
    status, content, _ = raw("/api/dicom", ("a.png", png(51)))
    assert (status, b"not a DICOM" in content) == (422, True)
    other = pydicom.dcmread(io.BytesIO(study[1][1]))
    other.StudyInstanceUID = "1.2.9"
    other.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    status, content, _ = raw(
        "/api/dicom", study[0], ("other.dcm", (tmp_path / "other.dcm").read_bytes())
    )
    assert (status, b"2 studies" in content) == (422, True)
    assert NAME.encode() not in content


def test_without_the_extra_it_is_told_which_one(raw, study, monkeypatch):
    monkeypatch.setattr("cxrtool.gui.documents.why_absent", lambda: "pip install 'cxrtool[dicom]'")
    status, content, _ = raw("/api/dicom", *study)
    assert (status, b"cxrtool[dicom]" in content) == (422, True)
    assert pacs.why_absent() == ""
