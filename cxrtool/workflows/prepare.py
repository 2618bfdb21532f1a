"""`prepare`: a data set's tables and images to a checked manifest, pixel sums and a cache."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from cxrtool.config import PrepareConfig
from cxrtool.errors import DataError, UsageError, first_few
from cxrtool.files import (
    check_writable,
    locked,
    remove_leftovers,
    sha256,
    whole_file,
    write_json,
)
from cxrtool.findings import Findings
from cxrtool.manifest import label_columns, mean_and_deviation, write_manifest
from cxrtool.new_cache import NewCache
from cxrtool.report import SILENT, Reporter
from cxrtool.sources.door import lies_beside, open_source
from cxrtool.sources.rows import SourceRows
from cxrtool.tables import write_table
from cxrtool.workflows.prepare_checks import check_copies, check_looks, check_rows
from cxrtool.workflows.prepare_images import decode_images, look_at_headers, pixel_table
from cxrtool.workspace import Workspace

DECADES = 10
"""Ages are counted in groups of ten years; the last holds 90 and above."""
RECALLED = ("columns", "label_columns", "images", "label_names")
"""What the tables are read by."""
SHOWN_PROBLEMS = 3
"""Examples of each kind of problem that are told."""


@dataclass(frozen=True)
class PrepareResult:
    """What the data holds: counts over all rows read, and labels over the images kept."""

    folder: Path
    rows: int
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
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {key: value for key, value in vars(self).items() if key != "folder"}


@dataclass(frozen=True)
class Looked:
    """The images that stay, and what was measured of them."""

    kept: pd.DataFrame
    """The manifest."""
    pixels: pd.DataFrame | None
    """Their pixel table; None where nothing was decoded."""
    cache: NewCache | None
    measured: list[Any]


def prepare_manifest(
    config: PrepareConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> PrepareResult:
    """Check a data set's tables and images; write manifest.csv, its companions and the cache.

    All that is wrong is collected and written to problems.csv; rows and images that cannot be
    used are left out. Until the end the workspace is as it was, but for its cache.

    Raises:
        DataError: no data set, a table that cannot be trusted, no image left, a full disk, another
            `prepare` in the workspace, or, if strict, any problem.
        UsageError: options that do not go together.
    """
    started = time.perf_counter()
    _check_options(config)
    check_writable(workspace.data_info)
    config = recalled(config, workspace, reporter)
    findings = Findings()
    source = _read(config, workspace, findings, reporter)
    rows = check_rows(source.rows, findings)
    chosen = _of_views(rows, config.views, source.folder)
    with locked(workspace.folder, "`cxrtool prepare`"):
        _sweep(workspace)
        looked = _look(source.folder, chosen, config, workspace, findings, reporter)
        _tell(findings, reporter)
        if config.strict and findings.counts():
            _give_up("--strict: no manifest was written", findings, workspace)
        result = _describe(source, rows, looked, findings, config, started)
        _write(result, source, rows, looked, findings, config, workspace, reporter)
    return replace(result, seconds=time.perf_counter() - started)


def _sweep(workspace: Workspace) -> None:
    """Remove the temporary files that a kill left; under the lock, nobody writes them now."""
    files = (workspace.manifest, workspace.pixels, workspace.problems, workspace.data_info)
    remove_leftovers(workspace.folder, [*(path.name for path in files), workspace.official.name])
    remove_leftovers(workspace.figures, ["labels.png", "ages.png", "cooccurrence.png"])
    remove_leftovers(workspace.cache, ["index.csv", "cache.json", "building.json"])


def _check_options(config: PrepareConfig) -> None:
    if config.cache and config.check_images != "full":
        raise UsageError(
            f"--cache needs every image decoded: leave --check-images {config.check_images} out"
        )


def _read(
    config: PrepareConfig, workspace: Workspace, findings: Findings, reporter: Reporter
) -> SourceRows:
    with reporter.busy("reading the tables"):
        source = open_source(config, Path(), findings)
    reporter.note(f"{source.folder}: {len(source.rows):,} rows of {', '.join(source.tables)}")
    for text in source.notes:
        reporter.note(text)
    if source.rows.empty:
        _give_up(f"{source.folder}: no row can be used", findings, workspace)
    _tell_of_other_data(source.folder, workspace, reporter)
    return source


def _give_up(what: str, findings: Findings, workspace: Workspace) -> NoReturn:
    """Write down all that is wrong, and end with it."""
    write_table(findings.table(), workspace.problems)
    raise DataError(
        f"{what} ({_counted(findings.counts())}, such as "
        f"{first_few(_examples(findings.table()))}; all of them are in {workspace.problems})"
    )


def _tell_of_other_data(folder: Path, workspace: Workspace, reporter: Reporter) -> None:
    try:
        before = workspace.read_data_info().folder
    except DataError:
        return
    if before != folder.resolve():
        reporter.warn(f"{workspace.folder} held the data of {before}; now it is {folder.resolve()}")


def recalled(config: PrepareConfig, workspace: Workspace, reporter: Reporter) -> PrepareConfig:
    """The options completed by what an earlier `prepare` in the workspace was told of the data.

    Where DATA is not named and none lies in the usual places, it is the earlier one; and the
    columns of a table of one's own need to be said only once.
    """
    try:
        asked = workspace.read_data_info().asked
    except DataError:
        return config
    if not asked["data"] or config.format not in ("auto", asked["format"]):
        return config
    if config.data is None and not (config.format in ("auto", "chexpert") and lies_beside(Path())):
        reporter.note(f"{asked['data']}, as before")
        config = replace(config, data=Path(asked["data"]))
    if config.data is None or str(config.data.resolve()) != asked["data"]:
        return config
    config = replace(config, format=asked["format"])
    told = {name: asked[name] for name in RECALLED if name in asked}
    missing = {name: text for name, text in told.items() if getattr(config, name) is None}
    for name, text in missing.items():
        reporter.note(f"--{name.replace('_', '-')} {text}, as before")
    images = Path(missing["images"]) if "images" in missing else config.images
    return replace(
        config,
        images=images,
        columns=missing.get("columns", config.columns),
        label_columns=missing.get("label_columns", config.label_columns),
        label_names=missing.get("label_names", config.label_names),
    )


def _of_views(rows: pd.DataFrame, views: str, folder: Path) -> pd.DataFrame:
    if views == "all":
        return rows
    chosen = rows[rows["view"] == views].reset_index(drop=True)
    if chosen.empty:
        raise DataError(f"{folder}: no row has the view {views}: try --views all")
    return chosen


def _look(
    folder: Path,
    chosen: pd.DataFrame,
    config: PrepareConfig,
    workspace: Workspace,
    findings: Findings,
    reporter: Reporter,
) -> Looked:
    """Look at the images as far as `config` says."""
    if config.check_images == "none":
        return Looked(chosen, None, None, [])
    paths = chosen["path"].tolist()
    cache = None
    if config.check_images == "header":
        measured = look_at_headers(folder, paths, config.workers, findings, reporter)
    else:
        if config.cache is not False:
            cache = NewCache(workspace.cache, folder, paths, config.cache_size)
        measured = decode_images(folder, paths, cache, config.workers, findings, reporter)
    pixels = pixel_table(measured, paths)
    if pixels.empty:
        if cache is not None:
            cache.discard()
        text = f"{folder}: none of {len(chosen):,} images can be used; are they beside the table?"
        _give_up(text, findings, workspace)
    check_looks(pixels, findings)
    kept = chosen[chosen["path"].isin(pixels["path"])].reset_index(drop=True)
    if config.check_images == "header":
        return Looked(kept, None, None, [])
    check_copies(pixels, kept, findings)
    return Looked(kept, pixels, cache, measured)


def _examples(table: pd.DataFrame) -> list[str]:
    return (table["where"] + ": " + table["detail"]).tolist()


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _tell(findings: Findings, reporter: Reporter) -> None:
    """Every problem for those who asked for more; for the others, a few of each kind."""
    table = findings.table()
    for kind, rows in table.groupby("kind", sort=False):
        if reporter.verbose:
            for line in _examples(rows):
                reporter.detail(f"{kind}: {line}")
        else:
            effect = "kept" if (rows["kept"] == "yes").all() else "left out"
            told = first_few(_examples(rows), SHOWN_PROBLEMS)
            reporter.note(f"{len(rows):,} {kind} ({effect}): {told}")


def _describe(
    source: SourceRows,
    rows: pd.DataFrame,
    looked: Looked,
    findings: Findings,
    config: PrepareConfig,
    started: float,
) -> PrepareResult:
    mean, std = (None, None) if looked.pixels is None else mean_and_deviation(looked.pixels)
    return PrepareResult(
        folder=source.folder,
        rows=len(rows),
        images=len(looked.kept),
        patients=int(looked.kept["patient_id"].nunique()),
        sex=_counts(rows["sex"]),
        age=_decades(rows["age"]),
        view=_counts(rows["view"]),
        orientation=_counts(rows["orientation"]),
        labels=label_counts(looked.kept),
        problems=findings.counts(),
        kept_problems=findings.counts(kept=True),
        mean=mean,
        std=std,
        cache_size=config.cache_size if looked.cache else None,
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


def label_counts(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Each label's positive, negative, uncertain and blank rows."""
    counts = {}
    for label in label_columns(frame):
        values = frame[label].to_numpy(dtype=float)
        counts[label] = {
            "positive": int((values == 1).sum()),
            "negative": int((values == 0).sum()),
            "uncertain": int((values == -1).sum()),
            "blank": int(np.isnan(values).sum()),
        }
    return counts


def _write(
    result: PrepareResult,
    source: SourceRows,
    rows: pd.DataFrame,
    looked: Looked,
    findings: Findings,
    config: PrepareConfig,
    workspace: Workspace,
    reporter: Reporter,
) -> None:
    from cxrtool.figures import draw_ages, draw_cooccurrence, draw_label_counts

    with reporter.busy("drawing figures"):
        with whole_file(workspace.figures / "labels.png") as path:
            draw_label_counts(result.labels, path)
        if rows["age"].notna().any():
            with whole_file(workspace.figures / "ages.png") as path:
                draw_ages(rows["age"], rows["sex"], path)
        else:
            (workspace.figures / "ages.png").unlink(missing_ok=True)
        with whole_file(workspace.figures / "cooccurrence.png") as path:
            draw_cooccurrence(looked.kept[label_columns(looked.kept)], path)
    before = sha256(workspace.manifest) if workspace.manifest.exists() else None
    # data.json says that a workspace is whole: it goes before the others change, and comes last.
    workspace.data_info.unlink(missing_ok=True)
    write_table(findings.table(), workspace.problems)
    write_manifest(looked.kept, workspace.manifest)
    _write_official(source, looked.kept, workspace)
    if looked.pixels is None:
        if workspace.pixels.exists():
            reporter.warn(
                "the images were not decoded: no training before `cxrtool prepare` looks at them "
                "in full"
            )
        workspace.pixels.unlink(missing_ok=True)
    else:
        write_table(looked.pixels, workspace.pixels)
    if config.cache is False and workspace.cache.is_dir():
        reporter.note(f"{workspace.cache} is left as it is; train reads from it while it fits")
    if looked.cache is not None:
        looked.cache.seal(looked.measured, sha256(workspace.pixels))
    info = {
        "dataset": source.dataset,
        "folder": str(source.folder.resolve()),
        "tables": list(source.tables),
        "labels_by": source.labels_by,
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
