"""`prepare`: a data set's tables and images to a checked manifest, pixel sums and a cache."""

import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pandas as pd

from cxrtool.core.config import FORMATS, PrepareConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.core.files import check_writable
from cxrtool.core.locks import locked
from cxrtool.core.unicode_forms import on_disk
from cxrtool.core.workspace import Workspace
from cxrtool.data.checks import check_copies, check_looks, check_rows
from cxrtool.data.image_checks import decode_images, look_at_headers, picture_table, pixel_table
from cxrtool.data.problems import Problems
from cxrtool.data.reader_labels import DISAGREE, one_row_an_image
from cxrtool.data.shared_pictures import check_near, other_workspaces, rows_apart
from cxrtool.data.sources.boxes import fitting_boxes
from cxrtool.data.sources.detect import lies_beside, open_source
from cxrtool.data.sources.locating import unnamed_images
from cxrtool.data.sources.rows import SourceRows
from cxrtool.data.summary import RECALLED, Looked, PrepareResult, describe, write_workspace
from cxrtool.images.cache_builder import NewCache

MANY = 0.1
"""Of all images; where so many are left out, something is wrong with the copy."""
SHOWN_COLUMNS = 12
SHOWN_PROBLEMS = 3
"""Examples of each kind of problem that are told."""


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
    _check_options(config, workspace)
    check_writable(workspace.data_info)
    config = recalled(config, workspace, reporter)
    problems = Problems()
    source = _read(config, workspace, problems, reporter)
    # Before rows are compared: two that write one file's name in two forms are of one image.
    named = source.rows.assign(path=_as_on_disk(source.folder, source.rows["path"]))
    tables = ", ".join(source.tables)
    rows, readers = one_row_an_image(named, config.readers, source.readers, problems, tables)
    if rows.empty:
        _give_up(f"{source.folder}: no row can be used", problems, workspace)
    check_rows(rows, problems)
    chosen = _of_views(rows, config.views, source.folder)
    with locked(workspace.folder, "`cxrtool prepare`"):
        looked = _look(source.folder, chosen, config, workspace, problems, reporter)
        source = _with_fitting_boxes(source, looked, problems, reporter)
        _tell(problems, reporter)
        # That readers disagree is what --readers was given for.
        if config.strict and set(problems.counts()) - {DISAGREE}:
            _give_up("--strict: no manifest was written", problems, workspace)
        result = describe(source, rows, looked, problems, config, readers, started)
        write_workspace(result, source, rows, looked, problems, config, workspace, reporter)
    return replace(result, seconds=time.perf_counter() - started)


def _with_fitting_boxes(
    source: SourceRows, looked: Looked, problems: Problems, reporter: Reporter
) -> SourceRows:
    """The rows with those of their boxes that lie on images that stay."""
    if source.boxes is None:
        return source
    boxes = fitting_boxes(source.boxes, looked.kept, looked.pixels, problems)
    reporter.note(
        f"{len(boxes):,} of {len(source.boxes):,} boxes are kept, of "
        f"{counted(boxes['path'].nunique(), 'image')}"
    )
    return replace(source, boxes=boxes)


def _check_options(config: PrepareConfig, workspace: Workspace) -> None:
    if config.cache and config.check_images != "full":
        raise UsageError(
            f"--cache needs every image decoded: leave --check-images {config.check_images} out"
        )
    if config.apart_from and config.check_images != "full":
        raise UsageError(
            "--apart-from compares pictures, which have to be decoded: leave --check-images "
            f"{config.check_images} out"
        )
    other_workspaces(config.apart_from or (), workspace)  # before minutes are spent


def _read(
    config: PrepareConfig, workspace: Workspace, problems: Problems, reporter: Reporter
) -> SourceRows:
    with reporter.busy("reading the tables"):
        source = open_source(config, Path(), problems)
    reporter.note(f"{source.folder}: {len(source.rows):,} rows of {', '.join(source.tables)}")
    for text in source.notes:
        reporter.note(text)
    for table, columns in source.unused.items():
        reporter.note(f"columns of {table} that are not used: {first_few(columns, SHOWN_COLUMNS)}")
    if config.check_images != "none":
        _tell_of_unnamed(source, reporter)
    if source.rows.empty:
        _give_up(f"{source.folder}: no row can be used", problems, workspace)
    _tell_of_other_data(source.folder, workspace, reporter)
    return source


def _tell_of_unnamed(source: SourceRows, reporter: Reporter) -> None:
    unnamed = unnamed_images(source.folder, source.rows["path"])
    if unnamed:
        reporter.note(
            f"{counted(len(unnamed), 'image')} in {source.folder} are in no row of "
            f"{', '.join(source.tables)}: {first_few(unnamed)}"
        )


def _give_up(what: str, problems: Problems, workspace: Workspace) -> NoReturn:
    """Write down all that is wrong, and end with it."""
    write_table(problems.table(), workspace.problems)
    raise DataError(
        f"{what} ({_counted(problems.counts())}, such as "
        f"{first_few(_examples(problems.table()))}; all of them are in {workspace.problems})"
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
    if asked["format"] in FORMATS:  # else a source that only this Python program knows
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
        readers=missing.get("readers", config.readers),
        labels_from=missing.get("labels_from", config.labels_from),
    )


def _of_views(rows: pd.DataFrame, views: str, folder: Path) -> pd.DataFrame:
    if views == "all":
        return rows
    chosen = rows[rows["view"] == views].reset_index(drop=True)
    if chosen.empty:
        raise DataError(f"{folder}: no row has the view {views}: try --views all")
    return chosen


def _as_on_disk(folder: Path, paths: "pd.Series[str]") -> "pd.Series[str]":
    """The paths as the files are called: a table may write their names in another Unicode form."""
    foreign = [path for path in paths if not path.isascii()]
    found = {path: on_disk(folder / path).relative_to(folder).as_posix() for path in foreign}
    return paths.replace(found) if found else paths


def _look(
    folder: Path,
    chosen: pd.DataFrame,
    config: PrepareConfig,
    workspace: Workspace,
    problems: Problems,
    reporter: Reporter,
) -> Looked:
    """Look at the images as far as `config` says."""
    if config.check_images == "none":
        return Looked(chosen, None, None, [])
    paths = chosen["path"].tolist()
    cache = None
    if config.check_images == "header":
        measured = look_at_headers(folder, paths, config.workers, problems, reporter)
    else:
        if config.cache is not False:
            cache = NewCache(workspace.cache, folder, paths, config.cache_size)
        measured = decode_images(folder, paths, cache, config.workers, problems, reporter)
    pixels = pixel_table(measured, paths)
    if pixels.empty:
        if cache is not None:
            cache.discard()
        text = f"{folder}: none of {len(chosen):,} images can be used; are they beside the table?"
        _give_up(text, problems, workspace)
    check_looks(pixels, problems)
    kept = chosen[chosen["path"].isin(pixels["path"])].reset_index(drop=True)
    left = len(chosen) - len(kept)
    if left >= MANY * len(chosen):
        reporter.warn(
            f"{left:,} of {len(chosen):,} images are missing or cannot be read: is the copy whole, "
            "and are the images beside the table?"
        )
    if config.check_images == "header":
        return Looked(kept, None, None, [])
    check_copies(pixels, kept, problems)
    pictures = picture_table(measured, paths)
    check_near(pictures, kept, problems)
    if config.apart_from:
        others = other_workspaces(config.apart_from, workspace)
        kept = rows_apart(pictures, kept, others, problems)
        if kept.empty:
            if cache is not None:
                cache.discard()
            _give_up(f"{folder}: all patients are in --apart-from too", problems, workspace)
        pixels, pictures = (one[one["path"].isin(kept["path"])] for one in (pixels, pictures))
    return Looked(kept, pixels, cache, measured, pictures)


def _examples(table: pd.DataFrame) -> list[str]:
    return (table["where"] + ": " + table["detail"]).tolist()


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _tell(problems: Problems, reporter: Reporter) -> None:
    """Every problem for those who asked for more; for the others, a few of each kind."""
    table = problems.table()
    for kind, rows in table.groupby("kind", sort=False):
        if reporter.verbose:
            for line in _examples(rows):
                reporter.detail(f"{kind}: {line}")
        else:
            effect = "kept" if (rows["kept"] == "yes").all() else "left out"
            told = first_few(_examples(rows), SHOWN_PROBLEMS)
            reporter.note(f"{len(rows):,} {kind} ({effect}): {told}")
