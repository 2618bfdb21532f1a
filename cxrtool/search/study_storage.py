"""Where a study is kept: SQLite in its folder, for one process, or a database for many."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from cxrtool.core.errors import NotWrittenError, RunError, UsageError
from cxrtool.core.files import open_regular, whole_file
from cxrtool.core.locks import locked
from cxrtool.search.study import StudyFolder, enqueue_again, experimental

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

BEAT = 10
"""Seconds between two signs of life of a trial in a shared database."""
SILENCE = 60
"""Seconds without one, after which a trial has died."""
MEETINGS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds to wait when others make the tables of the same empty database."""


@contextmanager
def open_storage(
    folder: StudyFolder, url: str | None, begin: Callable[[RDBStorage], None]
) -> Iterator[RDBStorage]:
    """The database of a study: SQLite in its folder, for one process at a time, or one for many.

    Where there is none in the folder, `begin` fills a new one, which is there once it is whole: a
    search that is killed before leaves its name free.

    Raises:
        DataError: another process uses the folder.
        UsageError: the URL is not one, or its driver is not installed.
        RunError: the database does not answer, is damaged, or cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is not None:
        yield _shared(url)
        return
    with locked(folder.path, "search", "name another study"):
        if not folder.database.exists():
            with (
                whole_file(folder.database) as temporary,
                _sqlite(temporary, folder) as empty,
            ):
                begin(empty)
        with _sqlite(folder.database, folder) as storage:
            _refuse_altered(storage, folder)
            yield storage


@contextmanager
def _sqlite(path: Path, folder: StudyFolder) -> Iterator[RDBStorage]:
    """An SQLite file as Optuna's storage, whose errors name the study's database."""
    from sqlalchemy.exc import DBAPIError

    storage = None
    try:
        open_regular(path).close()  # SQLite would wait for a pipe
        engine = {"connect_args": {"timeout": 60}}
        storage = RDBStorage(f"sqlite:///{path}", engine_kwargs=engine)
        yield storage
    except OSError as error:
        if storage is not None:
            raise
        raise RunError(
            f"{folder.database} cannot be read ({error.strerror}): {_anew(folder)}"
        ) from None
    except (DBAPIError, StorageInternalError) as error:
        raise _failed(error, folder) from None
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _refuse_altered(storage: RDBStorage, folder: StudyFolder) -> None:
    """Read all that is kept: a whole database may hold values that cannot be.

    Raises:
        RunError: one cannot be read.
    """
    try:
        for study in storage.get_all_studies():
            storage.get_all_trials(study._study_id, deepcopy=False)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{folder.database} is damaged ({reason}): {_anew(folder)}") from None


def _failed(error: Exception, folder: StudyFolder) -> RunError:
    """What a database's error means to its user."""
    from sqlalchemy.exc import DBAPIError

    cause = error if isinstance(error, DBAPIError) else error.__cause__
    reason = _first_line(cause) if isinstance(cause, DBAPIError) else str(error)
    path, name = folder.database, folder.name
    if any(word in reason for word in ("full", "disk I/O", "readonly", "unable to open")):
        way_on = (
            f"the trials before are kept: make room, and resume with `cxrtool tune --resume {name}`"
            if path.exists()
            else "nothing is kept yet: make room, and give the same command again"
        )
        return NotWrittenError(f"{path} could not be written ({reason}); {way_on}")
    return RunError(f"{path} is damaged ({reason}): {_anew(folder)}")


def _anew(folder: StudyFolder) -> str:
    return (
        f"restore it from a copy, or begin the search anew (--name {folder.name} --force; the runs "
        "of its trials stay)"
    )


def _shared(url: str) -> RDBStorage:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

    try:
        place = make_url(url)
        if place.drivername in ("postgres", "postgresql"):
            place = place.set(drivername="postgresql+psycopg")
        if place.get_backend_name() == "sqlite":
            raise UsageError("--storage is for a database of many processes; SQLite is the default")
        told = place.render_as_string(hide_password=True)
        with experimental():
            return _connected(place.render_as_string(hide_password=False))
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(f"--storage: {error}; as in postgresql://user@host/database") from None
    except ImportError as error:
        raise UsageError(
            f"--storage needs a driver that is not installed ({error.name}): "
            "pip install 'cxrtool[postgresql]'"
        ) from None
    except OperationalError as error:
        raise RunError(f"--storage {told} does not answer: {_first_line(error)}") from None
    except DBAPIError as error:
        raise RunError(f"--storage {told} refuses: {_first_line(error)}") from None


def _connected(url: str) -> RDBStorage:
    """The storage, with its tables.

    Optuna asks whether its tables are there and then makes them, so of two processes that come to
    an empty database together, one is told that what it makes exists. It finds it the next time.
    """
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for wait in (*MEETINGS, None):
        try:
            return RDBStorage(
                url,
                heartbeat_interval=BEAT,
                grace_period=SILENCE,
                heartbeat_stale_trial_callback=enqueue_again,
            )
        # A table that is there, or a row of PostgreSQL's catalogue of tables; in any language.
        except (IntegrityError, ProgrammingError):
            if wait is None:
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _first_line(error: "DBAPIError") -> str:
    return str(error.orig).strip().splitlines()[0]
