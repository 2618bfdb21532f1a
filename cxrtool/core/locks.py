"""Locks that keep a second process out, and are gone with the process that held them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrtool.core.errors import DataError


@contextmanager
def locked(folder: Path, what: str, instead: str = "take another workspace (-w)") -> Iterator[None]:
    """Keep a second process out of `folder` while the block runs; the folder is made if needed.

    Raises:
        DataError: another process is in there.
    """
    refusal = f"another {what} is running in {folder}: wait for it, or {instead}"
    with _held(folder / ".lock", refusal):
        yield


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep a second process from making the file `path` while the block runs.

    Raises:
        DataError: another process is writing it.
    """
    refusal = f"another process is writing {path}: wait for it, or name another file"
    with _held(path.with_name(f".{path.name}.lock"), refusal):
        yield


@contextmanager
def _held(lock_file: Path, refusal: str) -> Iterator[None]:
    """Hold a lock, or raise DataError at once; folders made for it go if empty."""
    from filelock import FileLock, Timeout

    made = [parent for parent in lock_file.absolute().parents if not parent.exists()]
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DataError(refusal) from None
        except OSError as error:
            raise DataError(f"{lock_file}: {error.strerror or error}") from None
        try:
            yield
        finally:
            lock_file.unlink(missing_ok=True)
            lock.release()
    finally:
        for folder in made:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


def is_locked(folder: Path) -> bool:
    """Whether a process holds a folder's lock (`locked`)."""
    from filelock import FileLock, Timeout

    lock = folder / ".lock"
    try:
        if not lock.is_file():
            return False
        with FileLock(lock, timeout=0):
            return False  # a process that was killed left the file
    except Timeout:
        return True
    except OSError:  # somebody else's
        return False
