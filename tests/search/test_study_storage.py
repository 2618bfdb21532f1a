"""Several processes on one study in a real PostgreSQL, which the test starts."""

import contextlib
import gc
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from cxrtool.core.errors import RunError
from cxrtool.search.study import StudyFolder
from cxrtool.search.study_storage import open_storage
from tests.support.searching import search, search_as_process

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
SERVER = shutil.which("postgres") or (BIN and shutil.which("postgres", path=str(BIN)))


def as_server(command, **options):
    """Run a command of PostgreSQL, which refuses to be root."""
    if os.geteuid() == 0:
        command = ["runuser", "-u", "nobody", "--", *command]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", **options)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The URL of an empty database."""
    pytest.importorskip("psycopg", reason="pip install -e '.[postgresql]'")
    if SERVER is None:
        pytest.skip("PostgreSQL is not installed")
    tools = Path(SERVER).parent
    # Another user than root must get there, whatever the folder of the tests is.
    folder = Path(tempfile.mkdtemp(dir="/tmp" if os.geteuid() == 0 else None))
    folder.chmod(0o777)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    control = [str(tools / "pg_ctl"), "-D", str(data)]
    as_server([str(tools / "initdb"), "-D", str(data), "-U", "cxr", "-A", "trust", "-N"])
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    as_server([*control, "-o", options, "-l", str(folder / "log"), "-w", "start"])
    try:
        yield f"postgresql://cxr@127.0.0.1:{port}/postgres"
    finally:
        # Optuna leaves connections to the garbage's collector; another test would hear of them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        as_server([*control, "-m", "immediate", "-w", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def study(database):
    """The same, after the study of the test before is gone."""
    yield database
    url = database.replace("postgresql:", "postgresql+psycopg:")
    optuna.delete_study(study_name="shared", storage=url)


def new_database(database, name):
    """Another database of the server, with nothing in it."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return database.replace("/postgres", f"/{name}")


@pytest.mark.parametrize("meeting", range(3))
def test_many_that_come_to_an_empty_database_at_once_all_find_their_tables(
    database, tmp_path, meeting
):
    url = new_database(database, f"empty{meeting}")
    start = threading.Barrier(6)

    def come(_):
        start.wait()
        with open_storage(StudyFolder(tmp_path), url, print) as storage:
            storage.get_all_studies()
            storage.remove_session()
            storage.engine.dispose()

    with ThreadPoolExecutor(6) as all_of_them:
        assert list(all_of_them.map(come, range(6))) == [None] * 6


def test_a_database_that_refuses_is_told_in_one_message(database, tmp_path):
    import psycopg

    url = new_database(database, "guarded")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    guest = url.replace("cxr@", "guest@")
    refused = f"--storage {guest.replace('postgresql:', 'postgresql+psycopg:')} refuses: "
    with pytest.raises(RunError) as told, open_storage(StudyFolder(tmp_path), guest, print):
        pass
    assert str(told.value).startswith(refused)
    assert "permission denied" in str(told.value)


@pytest.mark.slow
def test_two_processes_share_the_trials_and_do_none_twice(study, warm, prepared):
    both = [search_as_process(warm, prepared.folder, study, 1) for _ in range(2)]
    told = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    found = search(prepared, storage=study, name="shared", trials=12)
    assert [row["state"] for row in found.trials] == ["finished"] * 12
    assert len({tuple(row["values"].values()) for row in found.trials}) == 12
    assert len({row["run"] for row in found.trials}) == 12
    shares = [text.count(": valid AUROC") for _, text in told]
    assert sum(shares) == 12
    assert min(shares) >= 1  # one may start seconds after the other


@pytest.mark.slow
def test_the_trial_of_a_process_that_died_is_done_by_another(study, warm, prepared):
    dying = search_as_process(warm, prepared.folder, study, 600, "1", "3")
    while "trial 1:" not in (line := dying.stderr.readline()):
        assert line, "it ended before its first trial"
    dying.kill()
    dying.communicate()
    other = search_as_process(warm, prepared.folder, study, 0.1, "1", "3")
    _, told = other.communicate(timeout=300)
    assert other.returncode == 0, told
    found = search(prepared, storage=study, name="shared", trials=12)
    states = [row["state"] for row in found.trials]
    assert states[0].startswith("died, again as")
    assert states.count("finished") == 12
    again = found.trials[int(states[0].split()[-1]) - 1]
    assert again["values"] == found.trials[0]["values"]


@pytest.mark.slow
def test_another_search_is_no_part_of_the_study(study, warm, prepared):
    first = search_as_process(warm, prepared.folder, study, 0)
    assert first.wait(timeout=300) == 0
    with pytest.raises(Exception, match="--lr contradicts study shared"):
        search(prepared, storage=study, name="shared", lr=0.5)


def test_the_way_on_from_a_full_disk_is_one_that_there_is(tmp_path):
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    folder = StudyFolder(tmp_path / "search")

    def begins_and_finds_no_room(storage):
        raise full

    def goes_on_and_finds_no_room():
        with open_storage(folder, None, lambda storage: None):
            raise full

    with (
        pytest.raises(RunError, match=r"study\.db could not be written.*same command again"),
        open_storage(folder, None, begins_and_finds_no_room),
    ):
        pass
    assert not folder.database.exists()
    with pytest.raises(RunError, match=r"study\.db could not be written.*tune --resume search"):
        goes_on_and_finds_no_room()


def damage_database(path, how):
    content = path.read_bytes()
    path.unlink()
    if how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "noise":
        path.write_bytes(b"\xff" * len(content))
    elif how == "altered":
        path.write_bytes(content[:4096] + b"\0" * (len(content) - 4096))
    elif how == "empty":
        path.touch()
    elif how == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


def test_a_damaged_database_is_one_message_with_the_way_on(undrawn, tmp_path):
    search(undrawn, name="a", trials=1)
    folder = StudyFolder(undrawn.studies / "a")
    kept = shutil.copytree(folder.path, tmp_path / "kept")
    for how in ("half", "noise", "altered", "empty", "pipe", "folder"):
        shutil.rmtree(folder.path)
        shutil.copytree(kept, folder.path)
        damage_database(folder.database, how)
        with pytest.raises(RunError, match=r"study\.db.*(damaged|cannot be read|holds no)") as told:
            search(undrawn, resume="a", trials=2)
        assert "--force" in str(told.value), how
    assert len(search(undrawn, name="a", trials=1, force=True).trials) == 1


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("study_user_attributes", "value_json"), ("trial_user_attributes", "value_json")),
        *(("trial_params", "distribution_json"), ("trials", "state"), ("studies", "study_name")),
        *(("trial_values", "value_type"), ("study_directions", "direction")),
    ],
)
def test_a_value_in_the_database_that_is_none_is_one_message(undrawn, table, column):
    search(undrawn, name="a", trials=1)
    with contextlib.closing(sqlite3.connect(undrawn.studies / "a" / "study.db")) as database:
        changed = database.execute(f"UPDATE {table} SET {column} = '{{half'")
        assert changed.rowcount
        database.commit()
    with pytest.raises(RunError, match=r"study\.db (is damaged|holds no study).*--force"):
        search(undrawn, resume="a", trials=2)


def test_a_full_disk_ends_a_search_that_can_be_resumed(undrawn, monkeypatch):
    def full(*_, **__):
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr("optuna.trial.Trial.report", full)
        with pytest.raises(RunError, match=r"study\.db could not be.*full.*--resume a"):
            search(undrawn, name="a", trials=2)
    assert len(search(undrawn, resume="a").trials) >= 2
