"""`prepare`'s look at what the tables and the images say, whatever data set they are of."""

import numpy as np
import pandas as pd

from cxrtool.data.labels import NO_FINDING, SUPPORT_DEVICES, majority
from cxrtool.data.manifest import label_columns
from cxrtool.data.problems import Problems

SAME = ["width", "height", "pixel_sum", "pixel_square_sum"]
"""Two pictures that agree in these are the same one, or one mirrored: with sums of ten million and
squares of a billion, chance brings about no pair in a data set of CheXpert's size."""
RARE_MODE = 0.25
"""A mode that fewer images have than this share stands out."""
SIZE_FACTOR = 2.0
"""An image whose short side is so many times the usual one, or the usual one its, stands out."""


def check_rows(rows: pd.DataFrame, problems: Problems) -> None:
    """Note findings beside No Finding; the rows stay."""
    labels = [name for name in label_columns(rows) if name not in (NO_FINDING, SUPPORT_DEVICES)]
    if NO_FINDING not in rows.columns:
        return
    positive, _ = majority(rows[labels].to_numpy(dtype=float))
    without, _ = majority(rows[NO_FINDING].to_numpy(dtype=float))
    bad = without & positive.any(axis=1)
    names = np.array(labels, dtype=object)
    details = [f"{NO_FINDING} beside {', '.join(names[found])}" for found in positive[bad]]
    problems.add("contradiction", rows["path"][bad].tolist(), details, kept=True)


def check_looks(pixels: pd.DataFrame, problems: Problems) -> None:
    """Note images whose mode or size stands out, of those that can be used; all of them stay."""
    if pixels.empty:
        return
    shares = pixels["mode"].map(pixels["mode"].value_counts(normalize=True))
    rare = (shares < RARE_MODE).to_numpy(dtype=bool)
    usual = str(pixels["mode"].mode().iloc[0])
    details = [f"{mode}, most are {usual}" for mode in pixels["mode"][rare]]
    problems.add("mode stands out", pixels["path"][rare].tolist(), details, kept=True)
    short = pixels[["width", "height"]].min(axis=1)
    ratio = (short / short.median()).to_numpy(dtype=float)
    odd = (ratio > SIZE_FACTOR) | (ratio < 1 / SIZE_FACTOR)
    details = [
        f"{width}x{height}, the usual short side is {short.median():.0f}"
        for width, height in pixels[["width", "height"]].to_numpy()[odd]
    ]
    problems.add("size stands out", pixels["path"][odd].tolist(), details, kept=True)


def check_copies(pixels: pd.DataFrame, rows: pd.DataFrame, problems: Problems) -> None:
    """Note pictures that are there more than once; all of them stay.

    One that is there under two patients may come into two parts of a split. `rows` are the
    manifest's, of at least these images.
    """
    copies = pixels[pixels.duplicated(SAME, keep=False)]
    if copies.empty:
        return
    patients = rows.set_index("path")["patient_id"].loc[copies["path"]].to_numpy()
    copies = copies.assign(patient_id=patients)
    first = copies.groupby(SAME)[["path", "patient_id"]].transform("first")
    later = (copies["path"] != first["path"]).to_numpy(dtype=bool)
    other = (copies["patient_id"] != first["patient_id"]).to_numpy(dtype=bool)
    whose = np.where(other, "another patient's", "the same patient's")
    details = [
        f"the same size and pixel sums as {owner} {path}"
        for owner, path in zip(whose[later], first["path"][later], strict=True)
    ]
    problems.add("picture twice", copies["path"][later].tolist(), details, kept=True)
