"""Several processes on one study in a real PostgreSQL, which the test starts."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import optuna
import pytest
from searching import search, search_as_process

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
        as_server([*control, "-m", "immediate", "-w", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def study(database):
    """The same, after the study of the test before is gone."""
    yield database
    url = database.replace("postgresql:", "postgresql+psycopg:")
    optuna.delete_study(study_name="shared", storage=url)


@pytest.mark.slow
def test_two_processes_share_the_trials_and_do_none_twice(study, prepared):
    both = [search_as_process(prepared.folder, study, 2) for _ in range(2)]
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
def test_the_trial_of_a_process_that_died_is_done_by_another(study, prepared):
    dying = search_as_process(prepared.folder, study, 600, "1", "3")
    while "trial 1:" not in (line := dying.stderr.readline()):
        assert line, "it ended before its first trial"
    dying.kill()
    dying.communicate()
    other = search_as_process(prepared.folder, study, 0.1, "1", "3")
    _, told = other.communicate(timeout=300)
    assert other.returncode == 0, told
    found = search(prepared, storage=study, name="shared", trials=12)
    states = [row["state"] for row in found.trials]
    assert states[0].startswith("died, again as")
    assert states.count("finished") == 12
    again = found.trials[int(states[0].split()[-1]) - 1]
    assert again["values"] == found.trials[0]["values"]


@pytest.mark.slow
def test_another_search_is_no_part_of_the_study(study, prepared):
    first = search_as_process(prepared.folder, study, 0)
    assert first.wait(timeout=300) == 0
    with pytest.raises(Exception, match="--lr contradicts study shared"):
        search(prepared, storage=study, name="shared", lr=0.5)
