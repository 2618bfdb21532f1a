"""`prepare`'s look at the images: decoded once, measured, cached; what is wrong is noted."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from cxrtool.core.config import worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError
from cxrtool.core.pools import in_processes
from cxrtool.data.pictures import fingerprint, pictures_frame
from cxrtool.data.problems import Problems
from cxrtool.images.cache import Measured
from cxrtool.images.cache_builder import CacheWriter, NewCache
from cxrtool.images.errors import ImageError, MissingImageError
from cxrtool.images.files import file_state
from cxrtool.images.pixel_sums import pixel_sums
from cxrtool.images.plausibility import shape_warning
from cxrtool.images.reading import decode, read_header
from cxrtool.images.resizing import squish

CHUNK = 64
"""Images that a process takes at once."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Unusable(NamedTuple):
    """An image that cannot be used, and why."""

    row: int
    kind: str
    detail: str


Looked = Measured | Unusable
Task = tuple[int, str]
"""A row and its path: text, since a `Path` costs ten times as much to send to a process."""
Found = TypeVar("Found")
Look = Callable[[Sequence[Task]], list[Found]]
"""What is done with some of them in one process."""


def look_at_headers(
    folder: Path, paths: Sequence[str], workers: int | None, problems: Problems, reporter: Reporter
) -> list[Measured]:
    """Read each image's header; those that can be used, in their order. Sums are 0."""
    look = partial(_read_headers, folder)
    with reporter.steps("reading headers", len(paths)) as advance:
        parts = _in_processes(look, list(enumerate(paths)), workers, advance)
        looked = [one for part in parts for one in part]
    return _usable(looked, paths, problems)


def decode_images(
    folder: Path,
    paths: Sequence[str],
    cache: NewCache | None,
    workers: int | None,
    problems: Problems,
    reporter: Reporter,
) -> list[Measured]:
    """Decode each image once and measure it, into `cache` if there is one.

    Returns:
        The images that can be used, in their order.

    Raises:
        DataError: the disk is full, or a process died.
    """
    with reporter.busy("looking for images that are cached already"):
        done = {} if cache is None else cache.begin()
    if done:
        reporter.note(
            f"{len(done):,} of {len(paths):,} images are cached and unchanged, by size and time "
            "(--no-cache decodes all)"
        )
    done = _with_pictures(folder, paths, done, workers, reporter)
    looked: list[Looked] = list(done.values())
    todo = [(row, path) for row, path in enumerate(paths) if row not in done]
    found = _decode_some(folder, todo, cache, workers, reporter)
    if cache is not None and cache.sealed and any(isinstance(one, Measured) for one in found):
        # What could not be read last time can be read now: it is still to be written.
        cache.reopen(done)
        found = _decode_some(folder, todo, cache, workers, reporter)
    return _usable(looked + found, paths, problems)


def _with_pictures(
    folder: Path,
    paths: Sequence[str],
    done: dict[int, Measured],
    workers: int | None,
    reporter: Reporter,
) -> dict[int, Measured]:
    """Cached images with their fingerprints; version 0.1 made none, and they are decoded again."""
    todo = [(row, paths[row]) for row, one in done.items() if not one.picture]
    if not todo:
        return done
    reporter.note(f"{len(todo):,} cached images have no fingerprints yet: decoding those once more")
    made = dict(done)
    with reporter.steps("fingerprinting images", len(todo)) as advance:
        for part in _in_processes(partial(_fingerprints, folder), todo, workers, advance):
            for row, picture in part:
                made[row] = made[row]._replace(picture=picture)
    return made


def _fingerprints(folder: Path, images: Sequence[Task]) -> list[tuple[int, str]]:
    """The fingerprints of images in one process, and nothing else of them."""
    found = []
    for row, path in images:
        try:
            grey = decode(f"{folder}/{path}").grey
        except ImageError:
            continue  # it was readable when it was cached; whoever needs it will say so
        found.append((row, fingerprint(grey)))
    return found


def _decode_some(
    folder: Path,
    todo: Sequence[Task],
    cache: NewCache | None,
    workers: int | None,
    reporter: Reporter,
) -> list[Looked]:
    """Decode and measure images; into the cache, unless it is sealed."""
    open_cache = None if cache is None or cache.sealed else cache
    place = None if open_cache is None else open_cache.place
    look = partial(_decode_all, folder, place)
    looked: list[Looked] = []
    try:
        with reporter.steps("decoding images", len(todo)) as advance:
            for part in _in_processes(look, todo, workers, advance):
                if open_cache is not None:
                    open_cache.record(row for row in part if isinstance(row, Measured))
                looked += part
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = error.filename or (place[0] if place is not None else folder)
        raise DataError(
            f"{where}: the disk is full, with {len(looked):,} of {len(todo):,} images written: "
            "make room and run the command again, it goes on from there; or pass --no-cache"
        ) from None
    return looked


def _in_processes(
    look: Look[Found], todo: Sequence[Task], workers: int | None, advance: Callable[[int], None]
) -> Iterator[list[Found]]:
    """What `look` makes of all files, chunk by chunk, in their order."""
    processes = worker_count(workers, most=None)
    return in_processes(
        look, todo, chunk=CHUNK, processes=processes, doing="decodes images", advance=advance
    )


def _read_headers(folder: Path, images: Sequence[Task]) -> list[Looked]:
    looked: list[Looked] = []
    for row, path in images:
        file = f"{folder}/{path}"
        try:
            state = file_state(file)
            width, height, mode, note = read_header(file)
        except ImageError as error:
            looked.append(_unusable(row, file, error))
            continue
        odd = shape_warning(width, height)
        measured = Measured(row, width, height, mode, 0, 0, *state, note=note)
        looked.append(Unusable(row, "odd shape", odd) if odd else measured)
    return looked


def _decode_all(
    folder: Path, place: tuple[Path, int, int] | None, images: Sequence[Task]
) -> list[Looked]:
    """Decode and measure images, and write them into the cache at `place`."""
    writer = CacheWriter(*place) if place else None
    looked: list[Looked] = []
    histograms: list[list[int]] = []
    for row, path in images:
        file = f"{folder}/{path}"  # joining them as `Path`s takes as long as a hundredth of it all
        try:
            # Before decoding: a file that is written meanwhile has another time afterwards.
            state = file_state(file)
            grey, mode, note = decode(file)
        except ImageError as error:
            looked.append(_unusable(row, file, error))
            continue
        width, height = grey.size
        odd = shape_warning(width, height)
        if odd:
            looked.append(Unusable(row, "odd shape", odd))
            continue
        crc32 = writer.write(row, squish(grey, writer.image_size)) if writer else 0
        picture = fingerprint(grey)
        looked.append(Measured(row, width, height, mode, 0, 0, *state, crc32, picture, note))
        histograms.append(grey.histogram())
    if writer:
        writer.close()
    return _with_sums(looked, histograms)


def _with_sums(looked: Sequence[Looked], histograms: Sequence[Sequence[int]]) -> list[Looked]:
    """The measured images with their pixel sums; those of one grey alone cannot be used."""
    sums = iter(pixel_sums(histograms).tolist())
    done: list[Looked] = []
    for one in looked:
        if isinstance(one, Unusable):
            done.append(one)
            continue
        total, squares = next(sums)
        area = one.width * one.height
        if area * squares == total**2:
            done.append(Unusable(one.row, "blank image", f"every pixel is {total // area}"))
        else:
            done.append(one._replace(pixel_sum=total, pixel_square_sum=squares))
    return done


def _unusable(row: int, file: str, error: ImageError) -> Unusable:
    kind = "missing image" if isinstance(error, MissingImageError) else "broken image"
    return Unusable(row, kind, str(error).removeprefix(f"{file}: "))


def _usable(looked: Iterable[Looked], paths: Sequence[str], problems: Problems) -> list[Measured]:
    """The images that can be used, in their order; the others are noted, kind by kind."""
    rows = sorted(looked, key=lambda one: one.row)
    bad = [one for one in rows if isinstance(one, Unusable)]
    for kind in sorted({one.kind for one in bad}):
        ones = [one for one in bad if one.kind == kind]
        problems.add(kind, [paths[one.row] for one in ones], [o.detail for o in ones], kept=False)
    usable = [one for one in rows if isinstance(one, Measured)]
    noted = [one for one in usable if one.note]
    where, notes = [paths[one.row] for one in noted], [one.note for one in noted]
    problems.add("read with a warning", where, notes, kept=True)
    return usable


def pixel_table(measured: Sequence[Measured], paths: Sequence[str]) -> pd.DataFrame:
    """The rows of pixels.csv."""
    table = pd.DataFrame(measured, columns=list(Measured._fields))
    table.insert(0, "path", [paths[row] for row in table["row"]])
    return table.drop(columns=["row", "crc32", "picture", "note"])


def picture_table(measured: Sequence[Measured], paths: Sequence[str]) -> pd.DataFrame:
    """The rows of pictures.csv: the images' fingerprints."""
    known = [(paths[one.row], one.picture) for one in measured if one.picture]
    return pictures_frame(dict(known))
