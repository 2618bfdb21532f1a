"""Where a data set's images are: as the table says, or wherever a file of that name lies.

People convert images and unpack archives elsewhere, and tables keep the old names; other tables
name images by an id without an ending. A table's path is looked for as it is; where there is no
such file, by its last parts, as many as tell the table's images from each other (one for NIH's
`00000001_000.png`, three for CheXpert's `patient00001/study1/view1_frontal.jpg`), whatever the
ending.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from filecmp import cmp
from pathlib import Path

import pandas as pd

from cxrtool.core.errors import first_few
from cxrtool.data.problems import Problems

ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff")
"""Of the formats that are read; a file without one of them keeps all of its name."""
MOST_PARTS = 6
"""Of a path that are compared at most."""


def locate_images(folder: Path, paths: "pd.Series[str]", problems: Problems) -> "pd.Series[str]":
    """The images' paths from the folder, as the files lie there.

    One that is nowhere keeps the table's path, for others to miss it. Where several files could
    be the one, equal ones count as one and are noted; otherwise none is taken, the path is blank,
    and that is noted.
    """
    # is_file follows links, and a path of a table may hold what no file's name can.
    absent = [path for path in dict.fromkeys(paths) if not _is_file(folder, path)]
    if not absent:
        return paths
    files = list(_walk(folder))
    if not files:
        return paths
    parts = _parts_needed(list(dict.fromkeys(paths)))
    lying: dict[str, list[str]] = {}
    for file in files:
        lying.setdefault(_key(file, parts), []).append(file)
    found = {}
    for path in absent:
        candidates = _nearest(path, lying.get(_key(path, parts), []))
        if len(candidates) == 1:
            found[path] = candidates[0]
        elif candidates and _equal(folder, candidates):
            found[path] = candidates[0]
            detail = f"the same as {candidates[0]}, which is taken"
            problems.add("image twice", candidates[1:], detail, kept=True)
        elif candidates:
            could = f"could be {first_few(candidates)}: rename or remove all but one"
            problems.add("ambiguous image", [path], could, kept=False)
            found[path] = ""
    return paths.map(lambda path: found.get(path, path)) if found else paths


def unnamed_images(folder: Path, paths: Iterable[str]) -> list[str]:
    """The images that lie beside those of a table, in the same folders and below, without a row.

    Only files with an image's ending count. Paths are from the folder.
    """
    named = set(paths)
    tops = {path.partition("/")[0] if "/" in path else "" for path in named}
    found: list[str] = []
    for top in sorted(tops):
        if top:
            found += [f"{top}/{file}" for file in _walk(folder / top)]
        elif folder.is_dir():
            found += [path.name for path in folder.iterdir() if path.is_file()]
    return sorted(file for file in found if _ending(file) and file not in named)


def image_keys(given: Sequence[str], wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Two tables' names of images as texts that are the same for the same image.

    As many of the last parts of a path count as tell the given ones from each other.
    """
    bare = [name.strip().replace("\\", "/") for name in given]
    parts = _parts_needed(bare)
    return [_key(name, parts) for name in bare], [_key(name, parts) for name in wanted]


def _is_file(folder: Path, path: str) -> bool:
    try:
        return os.path.isfile(f"{folder}/{path}")  # noqa: PTH113  a Path costs ten times as much
    except ValueError:  # a zero byte
        return False


def _walk(folder: Path) -> Iterator[str]:
    """All files below a folder that may be images, in order, but no hidden ones."""
    top = str(folder)
    for here, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = os.path.relpath(here, top).replace(os.sep, "/")
        before = "" if inner == "." else f"{inner}/"
        for name in sorted(names):
            if not name.startswith(".") and (_ending(name) or not _is_word(name)):
                yield before + name


def _ending(path: str) -> str:
    """What of a path is the ending of an image; blank where it has none."""
    mark, ending = path.rpartition(".")[1:]
    return mark + ending if (mark + ending).lower() in ENDINGS else ""


def _is_word(name: str) -> bool:
    """Whether a name ends as a kind of file does: not in the last part of a UID, or in nothing."""
    mark, ending = name.rpartition(".")[1:]
    return bool(mark) and not ending.isdigit()


def _key(path: str, parts: int) -> str:
    """The last parts of a path without its ending."""
    bare = path.removesuffix(_ending(path))
    return "/".join(bare.rsplit("/", parts)[-parts:])


def _parts_needed(paths: Sequence[str]) -> int:
    """How many of the last parts tell the table's images from each other, as far as any do."""
    different = [len({_key(path, parts) for path in paths}) for parts in range(1, MOST_PARTS + 1)]
    return different.index(different[-1]) + 1


def _nearest(path: str, candidates: Sequence[str]) -> list[str]:
    """Of several files those that agree with the path in most of its last parts, and its ending."""
    best = list(candidates)
    for parts in range(1, MOST_PARTS + 1):
        nearer = [one for one in best if _key(one, parts) == _key(path, parts)]
        if not nearer:
            break
        best = nearer
    name = path.rpartition("/")[2]
    return [one for one in best if one.rpartition("/")[2] == name] or best


def _equal(folder: Path, files: Sequence[str]) -> bool:
    return all(cmp(folder / files[0], folder / other, shallow=False) for other in files[1:])
