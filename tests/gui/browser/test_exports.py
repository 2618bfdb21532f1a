"""Results to take along."""

import csv
import io
from pathlib import Path

from tests.support.scripted_desk import GREYS, RefusedError, about, answers, film, maps, row


def save(watched, kind):
    watched.page.get_by_text("Export").click()
    with watched.page.expect_download() as waited:
        watched.button(kind).click()
    watched.settle()
    return waited.value


def test_the_queue_as_csv(desk, watched):
    def script(asked):
        failed = row(asked.name, state="failed", findings=[], error="no image")
        return answers(
            asked, film(GREYS), failed if asked.name == "b.png" else row(asked.name), maps()
        )

    desk.script = script
    watched.named("=a.png", "b.png")
    watched.settle()
    found = save(watched, "csv")
    assert found.suggested_filename == "findings.csv"
    content = Path(found.path()).read_bytes()
    assert content.startswith(b"path,")  # no mark of byte order
    first, second = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert first["path"] == "'=a.png"
    assert first["Edema"] == "0.91"
    assert first["positive"] == "Edema;Enlarged Cardiomediastinum"
    assert (first["model"], first["fingerprint"]) == ("first", "ab" * 32)
    assert second["error"] == "no image"


def test_a_pdf_is_made_of_the_file_and_the_chosen_finding(desk, watched):
    watched.named("a.png")
    watched.settle()
    watched.finding("Fracture").click()
    desk.script = lambda asked: b"%PDF-1.7 made"
    found = save(watched, "pdf")
    assert found.suggested_filename == "a.png.pdf"
    assert Path(found.path()).read_bytes() == b"%PDF-1.7 made"
    asked = desk.asked[-1]
    assert (asked.path, asked.files) == ("/api/pdf", ("a.png",))
    assert asked.fields == {"model": "first", "label": "Fracture"}


def test_dicom_results_are_of_the_whole_study(desk, watched):
    studies = {"a.dcm": "x", "c.dcm": "x"}
    desk.script = lambda asked: answers(
        asked, film(GREYS), row(asked.name, study=studies.get(asked.name, "")), maps()
    )
    watched.named("a.dcm", "b.dcm", "c.dcm")
    watched.settle()
    desk.script = lambda asked: b"PK"
    assert save(watched, "dicom").suggested_filename == "a.dcm.zip"
    assert (desk.asked[-1].path, desk.asked[-1].files) == ("/api/dicom", ("a.dcm", "c.dcm"))


def test_why_there_is_no_dicom_is_said(desk, look):
    desk.about = about(exports={"pdf": True, "dicom": "pip install 'cxrtool[dicom]'"})
    watched = look()
    watched.named("a.png")
    watched.settle()
    watched.page.get_by_text("Export").click()
    assert watched.button("dicom").is_disabled()
    assert watched.page.get_by_text("pip install 'cxrtool[dicom]'").is_visible()
    watched.press("Escape")
    assert watched.button("dicom").is_hidden()


def test_a_document_that_is_refused_says_why(desk, watched):
    watched.named("a.png")
    watched.settle()

    def refuse(asked):
        raise RefusedError(422, "a.png is not a DICOM file: choose one")

    watched.expect("status of 422")
    desk.script = refuse
    watched.page.get_by_text("Export").click()
    watched.button("dicom").click()
    watched.page.locator(".problem #status", has_text="a.png is not a DICOM file").wait_for()


def test_before_an_image_there_is_nothing_to_take(desk, watched):
    watched.page.get_by_text("Export").click()
    assert all(watched.button(kind).is_disabled() for kind in ("csv", "pdf", "dicom"))


def test_addresses_of_what_was_made_are_given_back(desk, look):
    watched = look()
    watched.page.evaluate(
        """() => {
            window.open_addresses = new Set();
            const later = setTimeout;
            window.setTimeout = (act, milliseconds) => later(act, milliseconds / 100);
            const [make, end] = [URL.createObjectURL, URL.revokeObjectURL];
            URL.createObjectURL = (one) => {
                const made = make.call(URL, one);
                window.open_addresses.add(made);
                return made;
            };
            URL.revokeObjectURL = (one) => (window.open_addresses.delete(one), end.call(URL, one));
        }"""
    )
    watched.named("a.png")
    watched.settle()
    save(watched, "csv")
    watched.until("window.open_addresses.size === 0")
