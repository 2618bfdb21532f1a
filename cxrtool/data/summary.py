"""What `prepare` leaves behind: its counts, manifest.csv and its companions, figures, the seal."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrtool.core.config import SOFT, PrepareConfig
from cxrtool.core.console import Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.files import sha256, whole_file
from cxrtool.core.json_files import write_json
from cxrtool.core.origin import Origin
from cxrtool.core.workspace import Workspace
from cxrtool.data.croissant import write_croissant
from cxrtool.data.labels import MAJORITY, UNCERTAIN, majority
from cxrtool.data.manifest import label_columns, mean_and_deviation, write_manifest
from cxrtool.data.problems import Problems
from cxrtool.data.reader_labels import ReaderSummary
from cxrtool.data.sources.rows import SourceRows
from cxrtool.images.cache import Measured
from cxrtool.images.cache_builder import NewCache

DECADES = 10
"""Ages are counted in groups of ten years; the last holds 90 and above."""
RECALLED = ("columns", "label_columns", "images", "label_names", "labels_from", "readers")
"""What the tables are read by, to be said only once."""


@dataclass(frozen=True)
class PrepareResult:
    """What the data holds: counts over all rows read, and labels over the images kept."""

    folder: Path
    rows: int
    """Repeated ones counted once."""
    patients_read: int
    """Whose rows those are."""
    images: int
    patients: int
    sex: dict[str, int]
    age: dict[str, int]
    view: dict[str, int]
    orientation: dict[str, int]
    labels: dict[str, dict[str, int]]
    problems: dict[str, int]
    kept_problems: dict[str, int]
    """Those of the problems whose images stay in the manifest."""
    mean: float | None
    std: float | None
    cache_size: int | None
    origin: Origin
    labels_by: dict[str, str]
    """Who made the labels of each of the manifest's sources."""
    blank: str
    """What a label that the tables leave open means."""
    readers: ReaderSummary | None
    """What the rule for several readers found; None: there was no rule."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        told = {key: value for key, value in vars(self).items() if key != "folder"}
        readers = None if self.readers is None else self.readers.as_json()
        return {**told, "origin": self.origin.as_json(), "readers": readers}


@dataclass(frozen=True)
class Looked:
    """The images that stay, and what was measured of them."""

    kept: pd.DataFrame
    """The manifest."""
    pixels: pd.DataFrame | None
    """Their pixel table; None where nothing was decoded."""
    cache: NewCache | None
    measured: list[Measured]
    pictures: pd.DataFrame | None = None
    """Their fingerprints."""


def describe(
    source: SourceRows,
    rows: pd.DataFrame,
    looked: Looked,
    problems: Problems,
    config: PrepareConfig,
    readers: ReaderSummary | None,
    started: float,
) -> PrepareResult:
    """Count what the data holds."""
    mean, std = (None, None) if looked.pixels is None else mean_and_deviation(looked.pixels)
    return PrepareResult(
        folder=source.folder,
        rows=len(rows),
        patients_read=int(rows["patient_id"].nunique()),
        images=len(looked.kept),
        patients=int(looked.kept["patient_id"].nunique()),
        sex=_counts(rows["sex"]),
        age=_decades(rows["age"]),
        view=_counts(rows["view"]),
        orientation=_counts(rows["orientation"]),
        labels=label_counts(looked.kept, shares=config.readers == SOFT),
        problems=problems.counts(),
        kept_problems=problems.counts(kept=True),
        mean=mean,
        std=std,
        cache_size=config.cache_size if looked.cache else None,
        origin=source.origin,
        labels_by=source.labels_by,
        blank=source.blank,
        readers=readers,
        seconds=time.perf_counter() - started,
    )


def _counts(column: "pd.Series[str]") -> dict[str, int]:
    """How often each value occurs, blanks left out, the most frequent first."""
    counts = column[column != ""].value_counts()
    return {str(value): int(count) for value, count in counts.items()}


def _decades(ages: "pd.Series[int]") -> dict[str, int]:
    """How many rows are of each ten years of age."""
    decades = ages.dropna().astype(int).floordiv(DECADES).clip(upper=9)
    counts = decades.value_counts().sort_index()
    return {
        "90+" if decade == 9 else f"{10 * decade}-{10 * decade + 9}": int(count)
        for decade, count in zip(counts.index.tolist(), counts, strict=True)
    }


def label_counts(frame: pd.DataFrame, *, shares: bool = False) -> dict[str, dict[str, int]]:
    """Each label's positive, negative, uncertain and blank rows.

    Where labels are shares of readers, by what most of them say; and rows that are `divided`.
    """
    counts = {}
    for label in label_columns(frame):
        values = frame[label].to_numpy(dtype=float)
        uncertain = values == UNCERTAIN
        positive, decided = majority(values)
        counts[label] = {
            "positive": int(positive.sum()),
            "negative": int((decided & ~positive & ~uncertain).sum()),
            "uncertain": int(uncertain.sum()),
            **({"divided": int((values == MAJORITY).sum())} if shares else {}),
            "blank": int(np.isnan(values).sum()),
        }
    return counts


def write_workspace(
    result: PrepareResult,
    source: SourceRows,
    rows: pd.DataFrame,
    looked: Looked,
    problems: Problems,
    config: PrepareConfig,
    workspace: Workspace,
    reporter: Reporter,
) -> None:
    """Write it all; until data.json is there again, no command takes the workspace for whole."""
    with reporter.busy("drawing figures"):
        _draw(result, rows, looked.kept, workspace)
    before = sha256(workspace.manifest) if workspace.manifest.exists() else None
    # data.json says that a workspace is whole: it goes before the others change, and comes last.
    workspace.data_info.unlink(missing_ok=True)
    write_table(problems.table(), workspace.problems)
    write_manifest(looked.kept, workspace.manifest)
    write_croissant(
        workspace,
        looked.kept,
        dataset=source.dataset,
        origin=result.origin,
        blank=result.blank,
    )
    _write_official(source, looked.kept, workspace)
    workspace.boxes.unlink(missing_ok=True)
    if source.boxes is not None:
        write_table(source.boxes, workspace.boxes)
    if looked.pixels is None:
        if workspace.pixels.exists():
            reporter.warn(
                "the images were not decoded: no training before `cxrtool prepare` looks at them "
                "in full"
            )
        workspace.pixels.unlink(missing_ok=True)
    else:
        write_table(looked.pixels, workspace.pixels)
    # Of images that were not decoded, whoever needs the fingerprints makes them.
    workspace.pictures.unlink(missing_ok=True)
    if looked.pictures is not None:
        write_table(looked.pictures, workspace.pictures)
    if config.cache is False and workspace.cache.is_dir():
        reporter.note(f"{workspace.cache} is left as it is; train reads from it while it fits")
    if looked.cache is not None:
        looked.cache.seal(looked.measured, sha256(workspace.pixels))
    info = {
        "dataset": source.dataset,
        "folder": str(source.folder.resolve()),
        "tables": list(source.tables),
        "unused": source.unused,
        "asked": _asked(source, config),
        "views": config.views,
        **result.as_json(),
    }
    write_json(workspace.data_info, info)
    if workspace.split.exists() and before not in (None, sha256(workspace.manifest)):
        reporter.warn(
            f"the manifest has changed: where {workspace.split} no longer fits it, "
            "`cxrtool split --force` splits anew"
        )


def _draw(
    result: PrepareResult, rows: pd.DataFrame, kept: pd.DataFrame, workspace: Workspace
) -> None:
    from cxrtool.data.figures import draw_ages, draw_cooccurrence, draw_label_counts

    with whole_file(workspace.figures / "labels.png") as path:
        draw_label_counts(result.labels, path)
    with whole_file(workspace.figures / "cooccurrence.png") as path:
        draw_cooccurrence(kept[label_columns(kept)], path)
    if rows["age"].notna().any():
        with whole_file(workspace.figures / "ages.png") as path:
            draw_ages(rows["age"], rows["sex"], path)
    else:
        (workspace.figures / "ages.png").unlink(missing_ok=True)


def _asked(source: SourceRows, config: PrepareConfig) -> dict[str, str]:
    """What to read the same data again needs to know."""
    place = config.data or source.folder
    given = {name: getattr(config, name) for name in RECALLED}
    told = {name: str(value) for name, value in given.items() if value is not None}
    if config.images is not None:
        told["images"] = str(config.images.resolve())
    return {"format": source.dataset, "data": str(place.resolve()), **told}


def _write_official(source: SourceRows, kept: pd.DataFrame, workspace: Workspace) -> None:
    """The data set's own parts of the images that stay, for `split --by official`."""
    if source.official is None:
        workspace.official.unlink(missing_ok=True)
        return
    parts = dict(zip(source.rows["path"], source.official, strict=True))
    table = kept[["path", "patient_id"]].assign(split=[parts[path] for path in kept["path"]])
    write_table(table, workspace.official)
