"""Files that are whole or not there: written under a temporary name, then renamed.

The package for this, atomicwrites, is no longer maintained, and left what a killed process had
begun to write.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from cxrtool.core.errors import DataError

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves there stays
    fcntl = None  # type: ignore[assignment]

MOST_TEXT = 256 * 2**20
"""Bytes of a JSON, YAML or other small file that is read whole; ours are far below."""
MADE_AGAIN = frozenset({".png", ".html", ".npy", ".tex", ".md"})
"""What a power cut may leave empty: it is drawn or written again from files that are not."""
_PASSING = "-part-"
_LONGEST = 40
"""Characters that a file lends to the name of its folder in the making."""
_PASSED = re.compile(rf"\..{{1,{_LONGEST}}}{_PASSING}[a-z0-9_]{{8}}")
_swept: set[Path] = set()
"""The folders that this process has freed of what killed ones left."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading: a pipe or a device would be waited for without end.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """A regular file's bytes, if it holds at most so many.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than the {most:,} bytes that are read", str(path))
    return content


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """A regular file's text.

    Raises:
        OSError: as `read_bytes`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path, most).decode("utf-8")


@contextmanager
def names_file(path: Path) -> Iterator[None]:
    """Let an OSError of the block name `path`, where it names no file: a full disk's does not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        # NumPy's, where not all could be written, has neither a number nor a reason.
        number, reason = error.errno or errno.EIO, error.strerror or str(error)
        raise OSError(number, reason, str(path)) from None


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A temporary file to write to; it becomes `path` when the block ends well, with the
    permissions `mode` as far as this process gives them.

    It is in a hidden folder of its own beside `path`: some libraries put files of theirs next to
    what they write. After an exception, Ctrl-C included, `path` is what it was before and nothing
    else is left; after a power cut it is what it was before, or whole: what others rest on is on
    the disk before it gets its name. Pictures and pages are not waited for; they can be made again.
    What killed processes left beside `path` is removed.

    Raises:
        OSError: it could not be written; the error names `path`.
    """
    with names_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _passing_folder(path) as folder:
            temporary = folder / path.name
            try:
                temporary.touch()
                yield temporary
                # Some libraries make files for the owner alone; a result is as any new file.
                temporary.chmod(mode & ~umask())
                lasting = path.suffix not in MADE_AGAIN
                if lasting:
                    fsync(temporary)
                temporary.replace(path)
                if lasting:
                    fsync_folder(path.parent)
            except OSError as error:
                if error.filename == str(temporary):
                    error.filename = str(path)
                raise


@contextmanager
def _passing_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` while the block runs; locked, so that nobody sweeps it up."""
    try:
        folder = Path(tempfile.mkdtemp("", f".{path.stem[:_LONGEST]}{_PASSING}", path.parent))
    except OSError as error:
        error.filename = str(path)
        raise
    number = None
    try:
        with suppress(OSError):
            number = lock_folder(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if number is not None:
            os.close(number)


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed, or the process ends; None where it is taken.

    Raises:
        OSError: it is not a folder, or is not there any more.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def left_behind(folder: Path) -> list[Path]:
    """What is in the making in a folder and nobody is at: killed processes left it."""
    with suppress(OSError), os.scandir(folder) as found:
        making = [Path(one.path) for one in found if _PASSED.fullmatch(one.name)]
        return [path for path in making if not _at_work(path)]
    return []


def _at_work(folder: Path) -> bool:
    """Whether a process may hold a folder's lock (`lock_folder`)."""
    with suppress(OSError):
        number = lock_folder(folder)
        if number is not None:
            os.close(number)
            return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, the first time that this one writes there."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in left_behind(folder):
        shutil.rmtree(path, ignore_errors=True)


def umask() -> int:
    """What this process takes from the permissions of new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_once(path: Path, text: str, mode: int) -> None:
    """Write UTF-8 text unless the file is there; of several processes at once, the first does.

    Raises:
        OSError: it could not be written; the error names `path`.
    """
    with names_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _passing_folder(path) as folder:
            temporary = folder / path.name
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(mode)
            fsync(temporary)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return
            except OSError:
                # A file system without links: two at the same moment are not kept apart.
                if not path.exists():
                    temporary.replace(path)
        fsync_folder(path.parent)


@contextmanager
def claimed_folder(folder: Path, *, force: bool) -> Iterator[None]:
    """A folder for results, made or taken empty.

    Where an error ends the block, what was written is removed, if nothing else was there: the same
    command can then be given again.

    Raises:
        DataError: it holds something, and `force` is not given, or it is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file: --output names a folder")
    there = folder.is_dir()
    empty = not there or not any(folder.iterdir())
    if not empty and not force:
        raise DataError(f"{folder} is not empty: --force writes into it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if empty:
            shutil.rmtree(folder, ignore_errors=True)
            if there:
                folder.mkdir(exist_ok=True)
        raise


def fsync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with names_file(path), path.open("r+b") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(path: Path) -> None:
    """Raise DataError where a file cannot come to be, before work is done for it."""
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise DataError(f"{above} is a file: {path} cannot be written")
    if not os.access(above, os.W_OK):
        raise DataError(f"{above} cannot be written to")


def refuse_existing(path: Path, *, force: bool, what: str) -> None:
    """Raise DataError where `path` exists and `force` is not given."""
    if path.exists() and not force:
        raise DataError(f"{path} exists: --force replaces {what}")
