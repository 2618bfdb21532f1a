"""What the inputs of `predict` stand for: files, folders, globs, tables, a part of a manifest."""

import glob
import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.core.unicode_forms import forms, on_disk
from cxrtool.core.workspace import Workspace
from cxrtool.images.dicom.instance_ids import InstanceIds, read_instance_ids
from cxrtool.images.files import SUFFIXES, is_image, kind_by_name
from cxrtool.inference.sources import Source, Window

TABLE = ".csv"
DESCRIBING = ("patient_id", "study_id", "view")
"""The columns of a manifest that say which study an image is of."""
HIDDEN_FOLDER = "hidden folder"


class Described(NamedTuple):
    """What a manifest says of an image."""

    study: str
    """Of which patient's study it is; other patients' have other names."""
    view: str


@dataclass(frozen=True)
class Inputs:
    """Images, as the rows name them and where they are."""

    names: list[str]
    files: list[str]
    passed_over: Counter[str] = field(default_factory=Counter)
    """Files in folders that are no images, by what they are called."""
    described: dict[str, Described] = field(default_factory=dict)
    """Images of manifests, by their names."""
    source: Source | None = None
    """None: all files are there; else they are at their places only while they are needed."""

    def __len__(self) -> int:
        """How many."""
        return len(self.names)

    def windows(self, places: Sequence[int], size: int) -> Generator[Window, None, None]:
        """The images at these places, in their order; at most so many at a time, if need be."""
        if self.source is None:
            yield Window(places, [self.files[place] for place in places], {})
        else:
            yield from self.source.windows(places, size)

    def ids(self, place: int) -> InstanceIds | None:
        """Which instance of which study an image is; None where it is no DICOM."""
        if self.source is not None:
            return self.source.ids(place)
        return read_instance_ids(self.files[place])

    def part(self, places: Sequence[int]) -> "Inputs":
        """The images at these places alone, in this order."""
        return replace(
            self,
            names=[self.names[place] for place in places],
            files=[self.files[place] for place in places],
            source=None if self.source is None else self.source.part(places),
        )

    def others(self) -> str:
        """What was passed over in folders, in words; empty if nothing was."""
        kinds = [
            counted(count, kind) if kind == HIDDEN_FOLDER else f"{count:,} {kind}"
            for kind, count in self.passed_over.most_common()
        ]
        return f"passed over, being no images: {', '.join(kinds)}" if kinds else ""

    def repeated(self) -> dict[str, int]:
        """The names that are there more than once, and how often."""
        return {name: count for name, count in Counter(self.names).items() if count > 1}


def list_images(inputs: Sequence[str], split: str | None = None) -> Inputs:
    """The images that the inputs stand for.

    A folder stands for the images in it and below, by their content, a glob for the images it
    matches, a CSV for its `path` (or `Path`) column, and a manifest for all its images or, with
    `split`, for those in a part of the split.csv beside it. A file that is named is taken whatever
    it is.

    Raises:
        DataError: an input that stands for no image.
        UsageError: an empty input, or `split` without a manifest.
    """
    found = Inputs([], [])
    for text in inputs:
        if not text.strip():
            raise UsageError("an input is empty: name an image, a folder or a table")
        path = Path(text)
        table = path.suffix.lower() == TABLE and path.is_file()
        if split is not None and not table:
            raise UsageError(f"--split needs a manifest, which {text} is not")
        before = len(found)
        pairs = _of_table(path, split, found) if table else _expand(text, path, found.passed_over)
        for name, file in pairs:
            found.names.append(name)
            found.files.append(file)
        if len(found) == before:
            others = found.others()
            raise DataError(
                f"{text}: no images ({', '.join(SUFFIXES)}, or such by their content) are there"
                + f"; {others}" * bool(others)
            )
    return found


def _expand(text: str, path: Path, others: Counter[str]) -> Iterator[tuple[str, str]]:
    """The images that a path stands for; what else is in a folder is counted in `others`."""
    if path.is_dir():
        yield from ((name, name) for name in _below(text, others))
    elif not os.path.lexists(text) and glob.has_magic(text):
        # Path.glob cannot take an absolute pattern.
        found = [glob.glob(form, recursive=True) for form in forms(text)]  # noqa: PTH207
        names = sorted({name for names in found for name in names})
        yield from ((name, name) for name in _images(names, others))
    else:
        yield text, text


def _images(names: Iterable[str], others: Counter[str]) -> Iterator[str]:
    for name in names:
        if is_image(Path(name)):
            yield name
        elif not os.path.isdir(name):  # noqa: PTH112
            others[kind_by_name(Path(name))] += 1


def _below(folder: str, others: Counter[str]) -> Iterator[str]:
    """The images in a folder and below, sorted, links to folders not followed: they may go round.

    Raises:
        DataError: a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}") from None

    for where, folders, files in os.walk(folder, onerror=refuse):
        hidden = [name for name in folders if name.startswith(".")]
        others.update([HIDDEN_FOLDER] * len(hidden))
        folders[:] = sorted(set(folders) - set(hidden))
        yield from _images((os.path.join(where, name) for name in sorted(files)), others)  # noqa: PTH118


def _of_table(path: Path, split: str | None, found: Inputs) -> list[tuple[str, str]]:
    from cxrtool.core.csv_tables import read_table

    names = _of_manifest(path, split) if split is not None else None
    frame = read_table(path, ())
    if {"path", *DESCRIBING} <= set(frame.columns):
        rows = zip(frame["path"], *(frame[name] for name in DESCRIBING), strict=True)
        for name, patient, study, view in rows:
            of = study if str(study).startswith(str(patient)) else f"{patient}/{study}"
            found.described[str(name)] = Described(str(of), str(view))
    if names is None:
        column = next((name for name in ("path", "Path") if name in frame.columns), None)
        if column is None:
            raise DataError(
                f"{path} has no column path: its columns are {', '.join(frame.columns)}"
            )
        names = [str(name) for name in frame[column]]
    if not names:
        raise DataError(f"{path}: no image is in {split}")
    blank = [row for row, name in enumerate(names, start=2) if not name.strip()]
    if blank:
        raise DataError(f"{path}: {len(blank)} rows name no file (lines {first_few(blank)})")
    base = _base_of_table(path, _with_slashes(names[0]))
    return [(name, str(on_disk(base / _with_slashes(name)))) for name in names]


def _with_slashes(name: str) -> str:
    """A path as every system reads it: tables made on Windows have backslashes."""
    return name.replace("\\", "/")


def _of_manifest(path: Path, split: str) -> list[str]:
    """The paths in a part of the split of a manifest."""
    from cxrtool.data.manifest import read_manifest, read_split

    workspace = Workspace(path.parent)
    if path.name != workspace.manifest.name:
        raise UsageError(f"--split needs a manifest.csv, which {path} is not")
    workspace.need(workspace.split, "split")
    manifest = read_manifest(path)
    parts = read_split(workspace.split, manifest)
    return [str(name) for name in manifest["path"][parts == split]]


def _base_of_table(path: Path, first: str) -> Path:
    """What a table's paths are relative to: the first place where its first image is.

    Its own folder; the one above, as in CheXpert's tables; for a manifest, the data folder; or
    where the user is.
    """
    places = [path.parent, path.parent.parent]
    workspace = Workspace(path.parent)
    if workspace.data_info.is_file():
        places.append(workspace.read_data_info().folder)
    places.append(Path())
    return next((place for place in places if on_disk(place / first).is_file()), path.parent)
