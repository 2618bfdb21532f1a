"""The one door to all data sets: which one lies where, and its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.origin import drawn_origin, labellers
from cxrtool.data.problems import Problems
from cxrtool.data.sources import chexpert as chexpert
from cxrtool.data.sources import chexpert_plus as chexpert_plus
from cxrtool.data.sources import mimic as mimic
from cxrtool.data.sources import nih as nih
from cxrtool.data.sources import table as table
from cxrtool.data.sources.boxes import with_boxes
from cxrtool.data.sources.brax import BRAX
from cxrtool.data.sources.labels_from import find_table, relabel
from cxrtool.data.sources.locating import locate_images
from cxrtool.data.sources.openi import OPENI
from cxrtool.data.sources.padchest import PADCHEST
from cxrtool.data.sources.rows import Source, SourceRows
from cxrtool.data.sources.rsna import RSNA
from cxrtool.data.sources.siim import SIIM
from cxrtool.data.sources.vindr import VINDR

AUTO = "auto"
OF_TABLES = ("columns", "label_columns", "images")
"""The options that only a table of one's own needs."""
MOST_TOPS = 100
"""In how many folders beside the table a mark of drawn images is looked for."""


FORMATS = {
    source.name: source
    for source in (
        chexpert.SOURCE,
        chexpert.TEST_SOURCE,
        chexpert_plus.SOURCE,
        nih.SOURCE,
        mimic.SOURCE,
        *(one.source for one in (PADCHEST, VINDR, BRAX, RSNA, SIIM, OPENI)),
        table.SOURCE,
    )
}
"""By their names, in the order in which they are looked for."""
Candidate = tuple[Source, Path]


def open_source(config: PrepareConfig, here: Path, problems: Problems) -> SourceRows:
    """Find the data set that `config` names, or one beside the user, and read its tables.

    Raises:
        DataError: there is none, the message says where was looked; or see the formats' `read`.
        UsageError: a format that does not fit what is named; or see `table.read`.
    """
    source, place = _choose(config, here)
    _check_options(config, source, place)
    rows = source.read(place, config, problems)
    if config.labels_from is not None and config.labels_from not in source.labels_from:
        labels = find_table(config.labels_from, place, source.labels_from)
        rows = relabel(rows, labels, problems, own=config.label_names == "own")
    located = rows.at(locate_images(rows.folder, rows.rows["path"], problems))
    return _as_drawn(with_boxes(located, rows.folder, problems), place)


def _check_options(config: PrepareConfig, source: Source, place: Path) -> None:
    """Refuse options that have no meaning for the format."""
    with_own_names = tuple(name for name, one in FORMATS.items() if one.own_names)
    for options, homes in ((OF_TABLES, (table.NAME,)), (("label_names",), with_own_names)):
        given = [option for option in options if getattr(config, option) is not None]
        fits = source.name in homes or (given == ["label_names"] and config.labels_from is not None)
        if given and not fits:
            raise UsageError(
                f"--{given[0].replace('_', '-')} is for --format {' or '.join(homes)}, "
                f"and {place} is read as {source.name}"
            )


def _as_drawn(rows: SourceRows, place: Path) -> SourceRows:
    """The same rows; where the images were drawn, whatever their layout, that is told."""
    tops = {path.partition("/")[0] for path in rows.rows["path"]} if len(rows.rows) else set()
    inner = [rows.folder / top for top in sorted(tops)[:MOST_TOPS]]
    table = place if place.is_dir() else place.parent
    origin = drawn_origin([rows.folder, table, rows.folder.parent, *inner])
    if origin is None:
        return rows
    return replace(rows, origin=origin, labels_by=labellers(origin, rows.labels_by, {}))


def _choose(config: PrepareConfig, here: Path) -> Candidate:
    data, name = config.data, config.format
    if data is None:
        return _beside(name, here)
    if data.is_file():
        if name not in (AUTO, table.NAME):
            raise UsageError(
                f"{data} is a file, and --format {name} reads a folder: name that, "
                "or leave --format out"
            )
        return table.SOURCE, data
    if not data.is_dir():
        raise DataError(
            f"{data} is not a folder or a table: name the folder of a data set, or a CSV"
        )
    if name == table.NAME:
        return table.SOURCE, data
    return _first(
        list(_inside(name, data)),
        what=f"no data set found in {data}" if name == AUTO else f"no {name} data in {data}",
        advice=_advice(name, data),
    )


def _advice(name: str, folder: Path) -> str:
    """What to do where no data set lies in a folder: most often one lies in a folder of it."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())[:MOST_TOPS]
    deeper = [(source, place) for one in inner for source, place in _inside(name, one)]
    for source, place in deeper:
        if source.holds(place):
            return f"{place} holds {source.name} data: name that folder"
    return (
        "name the folder that holds it; a table of your own is read with "
        "`cxrtool prepare TABLE.csv --format csv`"
    )


def _beside(name: str, here: Path) -> Candidate:
    if name not in (AUTO, chexpert.NAME):
        raise DataError(
            f"--format {name} has no usual place: name the data, "
            f"`cxrtool prepare DATA --format {name}`, or set CXRTOOL_DATA"
        )
    return _first(
        [(chexpert.SOURCE, place) for place in _usual_places(here)],
        what="no CheXpert data found",
        advice="name the data set's folder, `cxrtool prepare DATA`, or set CXRTOOL_DATA",
    )


def _usual_places(here: Path) -> list[Path]:
    return [base / folder for base in (here, here / "data") for folder in chexpert.FOLDERS]


def lies_beside(here: Path) -> bool:
    """Whether CheXpert lies in one of its usual places."""
    return any(chexpert.holds(place) for place in _usual_places(here))


def _inside(name: str, folder: Path) -> Iterator[Candidate]:
    for source in FORMATS.values():
        if source is not table.SOURCE and name in (AUTO, source.name):
            yield source, folder
    if name in (AUTO, chexpert.NAME):
        yield from ((chexpert.SOURCE, folder / inner) for inner in chexpert.FOLDERS)


def _first(candidates: Sequence[Candidate], what: str, advice: str) -> Candidate:
    """The data set that lies in the first place where one lies.

    Raises:
        DataError: there is none, or several lie in that place.
    """
    held = [(source, place) for source, place in candidates if source.holds(place)]
    here = [source for source, place in held if place == held[0][1]]
    if len(here) > 1:
        names = [f"{source.name} ({source.looks_for})" for source in here]
        raise DataError(
            f"{held[0][1]} holds the tables of several data sets, {' and '.join(names)}: say which "
            f"with --format, such as --format {here[0].name}"
        )
    if held:
        return held[0]
    looked = ", ".join(str(place / source.looks_for) for source, place in candidates)
    raise DataError(f"{what} (looked for {looked}): {advice}")
