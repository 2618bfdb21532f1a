"""What is said of an image."""

import io
import re
from dataclasses import replace

import pytest
from PIL import Image

from cxrtool.gui.answers import Item, failed_html, queue_html, shown_name
from cxrtool.gui.desk import Desk
from tests.support.gui import MARKUP, heat_maps, last, png, scorer, waiting
from tests.support.serving import Parts


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("/etc/a.png", "a.png"),
        ("C:\\films\\a.png", "a.png"),
        ("a\n\nb\x00\x1b[31m\u202e.png", "a  b  [31m .png"),
        ("", "image without a name"),
        ("x" * 500, "x" * 119 + "…"),
    ],
)
def test_a_name_is_shown_in_one_line(name, shown):
    assert shown_name(name) == shown


def test_markup_in_a_name_or_a_reason_stays_text(desk, uploads):
    paths = waiting(uploads, (MARKUP, png(200)), (f"2{MARKUP}", b"x"))
    text = last(desk.look_at(paths))
    text += failed_html(Item(name=MARKUP), "</template><script>alert(1)</script>")
    parts = Parts(text)
    assert parts.all("script") == []
    assert parts.all("img", src="x") == []
    assert parts.text().count(MARKUP) >= 4
    assert "</template><script>alert(1)</script>" in parts.text()


def test_markdown_finds_no_end_of_the_html(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("a\n\n# b.png", png(10)))))
    assert "\n" not in text
    assert text.startswith("<div>")


def test_a_bar_shows_probability_and_threshold(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("a.png", png(153)))))
    row = re.search(r'<tr [^>]*data-label="Edema".*?</tr>', text)[0]
    assert "width:60.00%" in row
    assert "left:40.00%" in row
    assert "0.600" in row
    assert "0.400" in row
    assert "positive" in row
    without = re.search(r'<tr [^>]*data-label="No Finding".*?</tr>', text)[0]
    assert "left:" not in without
    assert "n/a" in without


def test_an_image_that_is_no_x_ray_has_a_warning(desk, uploads):
    plain, wide = waiting(uploads, ("a.png", png(10)), ("b.png", png(10, (900, 100))))
    assert Parts(last(desk.look_at([wide]))).all("template", **{"data-state": "warned"})
    assert Parts(last(desk.look_at([plain]))).all("template", **{"data-state": "warned"}) == []


def test_a_file_that_cannot_be_read_has_no_findings_and_is_not_called_without_any(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("x.png", b"nothing"))))
    parts = Parts(text)
    assert "Could not be read:" in parts.text()
    assert "No findings" not in parts.text()
    assert parts.all("template", **{"data-told": "could not be read"})


@pytest.mark.parametrize("level", [0, 255, 200])
def test_nothing_is_decided_of_a_picture_that_shows_nothing(desk, uploads, level):
    file = io.BytesIO()
    Image.new("L", (40, 50), level).save(file, "png")
    text = last(desk.look_at(waiting(uploads, ("white.png", file.getvalue()))))
    parts = Parts(text)
    assert parts.all("template", **{"data-told": "no decision"})
    assert "Nothing is decided of it" in parts.text()
    assert {row["class"].split()[0] for row in parts.all("tr") if "data-label" in row} == {"na"}


def test_decisions_of_an_image_with_a_warning_are_grey_and_the_reason_comes_first(desk, uploads):
    wide, plain = waiting(uploads, ("b.png", png(200, (900, 100))), ("a.png", png(200)))
    text = last(desk.look_at([wide]))
    assert Parts(text).all("template", **{"data-told": "doubtful: 1 positive"})
    assert Parts(text).all("table", **{"class": "findings doubtful"})
    assert text.index("900x100") < text.index('<table class="findings doubtful')
    other = last(desk.look_at([plain]))
    assert Parts(other).all("table", **{"class": "findings"})
    assert Parts(other).all("template", **{"data-told": "1 positive"})


def test_no_finding_is_none_and_stands_apart(uploads):
    found = replace(scorer(), raw_thresholds={"Edema": 0.4, "Fracture": 0.95, "No Finding": 0.4})
    text = last(Desk(found, heat_maps(), uploads).look_at(waiting(uploads, ("a.png", png(153)))))
    assert Parts(text).all("template", **{"data-told": "1 positive"})
    rows = [
        (row["data-label"], row["class"]) for row in Parts(text).all("tr") if "data-label" in row
    ]
    assert rows == [("Edema", "positive"), ("Fracture", "negative"), ("No Finding", "yes apart")]


def test_a_label_without_a_threshold_says_why(uploads):
    why = {"No Finding": "valid has 3 patients with a positive"}
    found = replace(scorer(), without=why)
    text = Parts(
        last(Desk(found, heat_maps(), uploads).look_at(waiting(uploads, ("a.png", png(153)))))
    ).text()
    assert "missing or says little: valid has 3 patients with a positive: No Finding" in " ".join(
        text.split()
    )


def test_queue_lists_all_images():
    items = [Item(name="a.png"), Item(name="b.png")]
    listed = Parts(queue_html(items)).all("li")
    assert [one["data-item"] for one in listed] == [item.id for item in items]
