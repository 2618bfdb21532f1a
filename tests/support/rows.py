"""Rows of predictions with odd names."""

from dataclasses import replace

import numpy as np

from cxrtool.data.prediction_rows import Row
from cxrtool.data.prediction_tables import rows_of

LABELS = ("Edema", "Pleural Effusion")
ODD = ['a,b"c".png', "two\nlines.png", "[red]x[/red]<b>.png", "ümlaut.png", "\udcff.png", " x .png"]


def some_rows():
    draws = np.random.default_rng(1).normal(0, 3, (len(ODD), 2))
    rows = list(rows_of(ODD, draws, LABELS, {"Edema": 0.5, "Pleural Effusion": None}))
    return [*rows, Row(path="gone.png", scores=None, error="no such file", warning="a; b")]


def without_logits(rows):
    """The rows as tables that hold none give them back."""
    return [replace(row, logits=None) for row in rows]
