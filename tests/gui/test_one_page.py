import io
from datetime import datetime

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from cxrtool.core.numbers import Estimate
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.decisions import findings_of
from cxrtool.gui.one_page import LONGEST, Sheet, write_page
from cxrtool.images.heat_grid import Cells, HeatMap
from cxrtool.inference.heatmap_figures import heat_layer, laid_over
from tests.support.studies import MODEL

HEAT = HeatMap(np.array([[-1, -1], [-1, 2.5]], np.float32), Cells(0.25, 0.5))
SCORES = [0.11 + 0.0513 * place for place in range(14)]


def found(warning="", labels=CHEXPERT_LABELS, scores=SCORES):
    limits = dict.fromkeys(labels, 0.4) | {"Fracture": None}
    return findings_of(scores, labels, limits, warning, {"Fracture": "valid had 3 positives"})


def film(width=60, height=80):
    rng = np.random.default_rng(2)
    return Image.fromarray(rng.integers(0, 256, (height, width), np.uint8))


def written(**changes):
    given = {
        "film": film(),
        "findings": found(),
        "model": MODEL,
        "made": datetime(2026, 12, 1, 9, 30),
        "label": "Pleural Effusion",
        "heat": HEAT,
        "engine": "torch on cpu, fp32",
    }
    return write_page(Sheet(**given | changes))


def read(content):
    reader = PdfReader(io.BytesIO(content))
    assert len(reader.pages) == 1
    return reader.pages[0]


def text_of(content):
    return " ".join(read(content).extract_text().split())


@pytest.fixture(scope="module")
def ordinary():
    return written(areas={"Edema": Estimate(0.83, (0.79, 0.87))}, level=0.95)


def test_it_is_one_page_of_a4(ordinary):
    box = read(ordinary).mediabox
    assert float(box.width) == pytest.approx(595, abs=1)
    assert float(box.height) == pytest.approx(842, abs=1)


def test_each_finding_is_told_with_its_numbers_and_decision(ordinary):
    text = text_of(ordinary)
    for one in found():
        decision = "no decision" if one.decision == "n/a" else one.decision
        row = f"{one.label} {one.shown} {one.shown_threshold} {decision}"
        assert row in text, row


def test_an_auroc_stands_with_its_interval_where_it_is_known(ordinary):
    text = text_of(ordinary)
    edema = next(one for one in found() if one.label == "Edema")
    assert f"{edema.shown} 0.400 {edema.decision} 0.830 (0.790–0.870)" in text
    assert text.count("not known") == 13
    assert "AUROC on test (95 % interval)" in text


def test_it_says_what_it_is_no_use_for_and_where_it_comes_from(ordinary):
    text = text_of(ordinary)
    for part in (
        "Research only: not a medical device.",
        "no clinical decision may rest on it",
        "strong, resnet101",
        MODEL.fingerprint,
        "sensitivity=0.9; calibration: platt",
        "cxrtool 1.2.3, torch on cpu, fp32",
        "2026-12-01 09:30",
        "What speaks for: Pleural Effusion",
        "Thresholds: valid had 3 positives: Fracture",
    ):
        assert part in text, part


def test_the_images_name_is_written_only_where_it_is_given(ordinary):
    assert ".dcm" not in text_of(ordinary)
    assert "film-7.dcm" in text_of(written(name="film-7.dcm"))


def test_warnings_and_contradictions_are_written():
    many = tuple(f"reason {place} why this may mean nothing" for place in range(9))
    text = text_of(written(warnings=many, contradictions=("No Finding is yes beside Edema",)))
    for part in (*many, "No Finding is yes beside Edema"):
        assert part in text


def test_a_blank_film_has_no_decision_and_a_missing_map_its_reason():
    blank = "blank: every pixel is 0"
    content = written(findings=found(blank), warnings=(blank,), heat=None, absent="no maps here")
    text = text_of(content)
    assert text.count("no decision") == 14
    assert "positive" not in text.replace("3 positives", "")
    assert "no maps here" in text
    assert len(read(content).images) == 1


def test_a_map_without_anything_for_it_says_so():
    flat = HeatMap(-np.ones((2, 2), np.float32), Cells(0.25, 0.5))
    assert "Pleural Effusion: nothing speaks for it" in text_of(written(heat=flat))


def test_the_film_and_its_map_are_there_pixel_by_pixel(ordinary):
    plain = np.dstack([np.asarray(film())] * 3)
    over = laid_over(heat_layer(HEAT.values, HEAT.cells, 60, 80), plain)
    # From the lowest row up: the page's own coordinates turn it over.
    pictures = [np.asarray(one.image.convert("RGB"))[::-1] for one in read(ordinary).images]
    for expected in (plain, over):
        assert any(np.array_equal(one, expected) for one in pictures)


@pytest.mark.parametrize(("width", "height"), [(3000, 2000), (2000, 3000), (100, 1500), (1500, 90)])
def test_a_film_of_any_shape_fits(width, height):
    page = read(written(film=film(width, height)))
    longest = max(max(one.image.size) for one in page.images)
    assert longest <= LONGEST
    assert "Support Devices" in page.extract_text()


def test_what_does_not_fit_is_counted():
    labels = [f"Finding number {place}" for place in range(90)] + ["No Finding"]
    scores = [0.99 - place / 100 for place in range(90)] + [0.2]
    text = text_of(written(findings=found("", labels, scores)))
    shown = sum(f"{label} 0." in text for label in labels)
    assert 20 < shown < 90
    assert "Finding number 0 0.990" in text
    assert "No Finding 0.200" in text
    left_out = 91 - shown
    positive = sum(score >= 0.4 for score in scores[:-1]) - (shown - 1)
    told = f"{left_out} more of 91, the least probable, left out, {positive} of them positive"
    assert told in text


def test_long_labels_are_broken_and_do_not_touch_the_numbers():
    labels = [f"{label} of the left upper lobe, described at length" for label in CHEXPERT_LABELS]
    text = text_of(written(findings=found("", labels)))
    for label in labels:
        assert label.split(",")[0][:20] in text


def test_fonts_are_embedded(ordinary):
    fonts = read(ordinary)["/Resources"]["/Font"]
    for font in fonts.values():
        made = font.get_object()
        (made,) = made.get("/DescendantFonts", [made])
        described = made.get_object()["/FontDescriptor"].get_object()
        assert "/FontFile2" in described
    assert len(fonts) >= 2


def test_the_same_sheet_gives_the_same_bytes(ordinary):
    assert ordinary == written(areas={"Edema": Estimate(0.83, (0.79, 0.87))}, level=0.95)
