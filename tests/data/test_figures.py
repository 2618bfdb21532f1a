"""Pictures of a data set."""

import warnings

import numpy as np
import pandas as pd
from PIL import Image

from cxrtool.data import figures
from cxrtool.data.figures import draw_cooccurrence, draw_label_counts


def test_figures_are_drawn(prepared_once):
    for name in ("labels.png", "ages.png", "cooccurrence.png"):
        with Image.open(prepared_once.figures / name) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 5


def test_labels_that_no_font_can_write_are_boxes_with_a_number_and_nothing_is_warned(tmp_path):
    names = ["肺炎", "气胸\U000f0000", "$x^$", "Edema"]
    of_one = {"positive": 3, "negative": 4, "uncertain": 1, "blank": 0}
    counts = dict.fromkeys(names, of_one)
    raw = pd.DataFrame(np.eye(4), columns=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_label_counts(counts, tmp_path / "labels.png")
        draw_cooccurrence(raw, tmp_path / "cooccurrence.png")
    for name in ("labels.png", "cooccurrence.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 150


def test_of_very_many_labels_the_most_frequent_are_drawn_and_that_is_said(tmp_path, monkeypatch):
    names = [f"sign {number}" for number in range(6)]
    positives = [0, 5, 3, 4, 1, 3]
    raw = pd.DataFrame([[int(row < count) for count in positives] for row in range(5)])
    raw.columns = names
    drawn = []

    def canvas(*size):
        drawn.append(original(*size))
        return drawn[-1]

    original = figures.canvas
    monkeypatch.setattr(figures, "canvas", canvas)
    monkeypatch.setattr(figures, "MOST_LABELS", 4)
    counts = {
        name: {"positive": count, "negative": 5 - count, "uncertain": 0}
        for name, count in zip(names, positives, strict=True)
    }
    draw_label_counts(counts, tmp_path / "labels.png")
    draw_cooccurrence(raw, tmp_path / "cooccurrence.png")
    (_, bars), (_, pairs) = drawn
    kept = ["sign 1", "sign 2", "sign 3", "sign 5"]
    assert [text.get_text() for text in bars.get_yticklabels()] == kept[::-1]
    assert [text.get_text() for text in pairs.get_xticklabels()] == kept
    for told in (bars.get_xlabel(), pairs.get_title(loc="right")):
        assert "the 4 most frequent of 6 labels" in told
