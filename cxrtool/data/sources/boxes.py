"""Where findings are: boxes beside a data set's tables, and outlines (masks) as the boxes of them.

Corners are in pixels of the picture that they were drawn on, whose size stands beside them where it
is known: copies of images are often smaller than what readers saw.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.core.files import read_text
from cxrtool.data.label_names import finding_key
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import label_columns
from cxrtool.data.problems import Problems
from cxrtool.data.sources import nih as nih
from cxrtool.data.sources import vindr as vindr
from cxrtool.data.sources.locating import image_keys
from cxrtool.data.sources.rows import BOX_COLUMNS, SourceRows, open_table

CORNERS = ("x0", "y0", "x1", "y1")
SIZE = ("width", "height")
SLACK = 0.02
"""By how much the sides' ratio of an image may differ from that of what was drawn on: rounding."""
SAME: Mapping[str, Collection[str]] = {label: (label,) for label in CHEXPERT_LABELS}


@dataclass(frozen=True, kw_only=True)
class BoxTable:
    """A table of boxes, a row each."""

    name: str
    """With `*` for what differs between releases."""
    image: str
    corners: tuple[str, str, str, str]
    """Columns of left, top, and of right, bottom or the width, height."""
    sized: bool
    """Whether the last two are the width and height."""
    finding: str
    """The column of what it is; or the one finding of all boxes, where `only` says so."""
    only: bool = False
    reader: str | None = None
    drawn_on: tuple[int, int] | None = None
    """The width and height of all the pictures; None: not known."""
    meaning: Mapping[str, Collection[str]]
    """For each of CheXpert's labels, which findings it is."""

    def read(self, path: Path, problems: Problems) -> pd.DataFrame:
        """The boxes by the image's and the finding's name; a row without corners has none."""
        used = [self.image, *self.corners, *([] if self.only else [self.finding])]
        frame = open_table(path, used, problems)
        numbers = frame[list(self.corners)].apply(pd.to_numeric, errors="coerce")
        there = numbers.notna().all(axis=1)
        frame, (x0, y0, x1, y1) = frame[there], (numbers[there][name] for name in self.corners)
        width, height = self.drawn_on or (np.nan, np.nan)
        made = {
            "path": frame[self.image].str.strip(),
            "label": self.finding if self.only else frame[self.finding].str.strip(),
            "x0": x0,
            "y0": y0,
            "x1": x0 + x1 if self.sized else x1,
            "y1": y0 + y1 if self.sized else y1,
            "width": width,
            "height": height,
            "reader": frame[self.reader].str.strip() if self.reader in frame else "",
        }
        return pd.DataFrame(made).reset_index(drop=True)


_VINDR = {
    "image": vindr.IMAGE,
    "corners": ("x_min", "y_min", "x_max", "y_max"),
    "sized": False,
    "finding": vindr.CLASS,
    "reader": vindr.READER,
    "meaning": vindr.CHEXPERT_NAMES,
}
_NIH = {
    **{label: [own for own, one in nih.TO_CHEXPERT.items() if one == label] for label in SAME},
    # The table of boxes alone calls it so.
    "Lung Opacity": ("Infiltration", "Infiltrate"),
    "Infiltration": ("Infiltrate",),
}
TABLES: Mapping[str, tuple[BoxTable, ...]] = {
    "nih": (
        BoxTable(
            name="BBox_List_2017*.csv",
            image="Image Index",
            corners=("Bbox [x", "y", "w", "h]"),
            sized=True,
            finding="Finding Label",
            drawn_on=(1024, 1024),
            meaning=_NIH,
        ),
    ),
    "rsna": (
        BoxTable(
            name="stage_2_train_labels.csv",
            image="patientId",
            corners=("x", "y", "width", "height"),
            sized=True,
            finding="Pneumonia",
            only=True,
            drawn_on=(1024, 1024),
            meaning=SAME,
        ),
    ),
    "vindr": tuple(
        BoxTable(name=name, **_VINDR)  # type: ignore[arg-type]
        for name in ("annotations_train.csv", "annotations_test.csv", "train.csv")
    ),
    "chexpert": (
        BoxTable(
            name="boxes.csv",
            image="Path",
            corners=CORNERS,
            sized=False,
            finding="Label",
            meaning=SAME,
        ),
    ),
}
"""By format; `boxes.csv` is what lies beside drawn images."""
MASKS = "gt_segmentations_*.json"
"""CheXlocalize's outlines (Saporta et al. 2022), in COCO's run lengths, by image and finding."""


def with_boxes(rows: SourceRows, folder: Path, problems: Problems) -> SourceRows:
    """The rows with what lies beside their tables of where findings are, if anything does.

    Boxes of findings that are no label are left out and noted. Some may be of images in no row.

    Raises:
        DataError: a table of boxes or a file of masks cannot be read.
    """
    read = [
        (path, table.meaning, table.read(path, problems))
        for table in TABLES.get(rows.dataset, ())
        for path in _there(folder, table)
    ]
    if rows.dataset in ("chexpert", "chexlocalize"):
        read += [(path, SAME, _of_masks(path)) for path in sorted(folder.glob(MASKS))]
    found = [_of_rows(boxes, rows, path, meaning, problems) for path, meaning, boxes in read]
    if not found:
        return rows
    return replace(rows, boxes=pd.concat(found, ignore_index=True))


def fitting_boxes(
    boxes: pd.DataFrame, kept: pd.DataFrame, pixels: pd.DataFrame | None, problems: Problems
) -> pd.DataFrame:
    """The boxes of a manifest's images, without those that lie off them.

    Args:
        boxes: of all rows.
        kept: the manifest.
        pixels: the images' sizes; None where nobody looked, and then nothing is checked.
        problems: what is off is noted there.
    """
    inside = boxes[boxes["path"].isin(kept["path"])].reset_index(drop=True)
    if pixels is None:
        return inside
    sizes = pixels.set_index("path").loc[inside["path"], list(SIZE)].to_numpy(dtype=float)
    given = inside[list(SIZE)].to_numpy(dtype=float)
    drawn_on = np.where(np.isnan(given), sizes, given)
    ratio = (drawn_on[:, 0] / drawn_on[:, 1]) / (sizes[:, 0] / sizes[:, 1])
    corners = inside[list(CORNERS)].to_numpy(dtype=float)
    start, end = corners[:, :2], corners[:, 2:]
    inverted = (end <= start).any(axis=1)
    beyond = (start < -SLACK * drawn_on).any(axis=1) | (end > drawn_on * (1 + SLACK)).any(axis=1)
    off = beyond | inverted | (np.abs(ratio - 1) > SLACK)
    detail = [
        f"{label}: drawn on {on[0]:.0f}x{on[1]:.0f}, the image is {size[0]:.0f}x{size[1]:.0f}"
        for label, on, size in zip(inside["label"][off], drawn_on[off], sizes[off], strict=True)
    ]
    problems.add("box off the image", inside["path"][off].tolist(), detail, kept=True)
    fitting: pd.DataFrame = inside.assign(width=drawn_on[:, 0], height=drawn_on[:, 1])[~off]
    return fitting.reset_index(drop=True)


def _there(folder: Path, table: BoxTable) -> list[Path]:
    return sorted(path for path in folder.glob(table.name) if path.is_file())


def _of_rows(
    boxes: pd.DataFrame,
    rows: SourceRows,
    path: Path,
    meaning: Mapping[str, Collection[str]],
    problems: Problems,
) -> pd.DataFrame:
    """Boxes with the rows' paths and labels."""
    images = boxes["path"].drop_duplicates().tolist()
    given, wanted = image_keys(images, rows.rows["path"].tolist())
    paths = dict(zip(wanted, rows.rows["path"], strict=True))
    # One of an image in no row keeps its name: it is counted where the images are.
    known = {image: paths.get(key, image) for image, key in zip(images, given, strict=True)}
    labels = _labels(boxes["label"].unique().tolist(), label_columns(rows.rows), meaning)
    pairs = [(name, label) for name, found in labels.items() for label in found]
    nameless = sorted(name for name, found in labels.items() if not found)
    many = boxes["label"].value_counts()
    detail = [f"{counted(int(many[name]), 'row')} of {path.name}" for name in nameless]
    problems.add("box of no label", nameless, detail, kept=False)
    named = pd.DataFrame(pairs, columns=["name", "label"])
    placed = boxes.assign(path=boxes["path"].map(known)).rename(columns={"label": "name"})
    made: pd.DataFrame = placed.merge(named, on="name")[list(BOX_COLUMNS)]
    return made


def _labels(
    names: Sequence[str], labels: Sequence[str], meaning: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """For each finding which of the manifest's labels it is."""
    keys = {finding_key(label): label for label in labels}
    found = {}
    for name in names:
        same = keys.get(finding_key(name))
        meant = [one for one in labels if name in meaning.get(one, ())]
        found[name] = [same] if same is not None else meant
    return found


def _of_masks(path: Path) -> pd.DataFrame:
    """The boxes of masks: {image: {finding: {size: [height, width], counts: run lengths}}}."""
    from pycocotools import mask as coco

    try:
        images = json.loads(read_text(path))
        boxes = [
            (image, finding, *coco.toBbox(mask), *mask["size"][::-1])
            for image, findings in images.items()
            for finding, mask in findings.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as CheXlocalize's masks ({error!r}): copy it again, or move it "
            "elsewhere"
        ) from None
    frame = pd.DataFrame(boxes, columns=["path", "label", "x0", "y0", "w", "h", *SIZE])
    # An empty mask says that the finding is outlined nowhere.
    frame = frame[(frame["w"] > 0) & (frame["h"] > 0)].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"{path} holds no masks ({first_few(list(images))})")
    # patient64741_study1_view1_frontal
    paths = frame["path"].str.replace("_study", "/study").str.replace("_view", "/view")
    return frame.assign(
        path=paths, x1=frame["x0"] + frame["w"], y1=frame["y0"] + frame["h"], reader=""
    )
