"""Pictures of a data set."""

import warnings

import numpy as np
import pandas as pd
from PIL import Image

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
