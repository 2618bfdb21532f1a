import json
import subprocess
import time

import pytest
import yaml

from cxrtool.core.runs import RunFolder
from tests.conftest import TINY
from tests.support.searching import search


def test_more_trials_go_on_as_one_search_would_have(undrawn):
    whole = search(undrawn, name="whole", trials=6)
    search(undrawn, name="parts", trials=2)
    parts = search(undrawn, resume="parts", trials=6)
    assert [row["values"] for row in parts.trials] == [row["values"] for row in whole.trials]


def test_a_study_knows_how_many_trials_were_asked_for(undrawn):
    search(undrawn, name="a", trials=2)
    assert len(search(undrawn, resume="a", given={"resume"}).trials) == 2
    assert len(search(undrawn, resume="a", trials=3).trials) == 3
    assert len(search(undrawn, resume="a", given={"resume"}).trials) == 3


def test_a_small_space_is_tried_whole_and_no_more(undrawn, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("batch_size: [8, 16]\nema: [0, 0.5]\n")
    found = search(undrawn, name="a", trials=20, space=path)
    assert len({tuple(row["values"].values()) for row in found.trials}) == len(found.trials) == 4


def command(workspace, *words):
    options = [
        *("--arch", TINY.arch, "--weights", "none", "--epochs", "1", "--image-size", "32"),
        *("--batch-size", "16", "--workers", "0", "--precision", "fp32", "--device", "cpu"),
    ]
    first = [] if "--resume" in words else options
    return ["tune", "-w", str(workspace.folder), *first, *words]


@pytest.mark.slow
def test_a_search_that_is_killed_loses_no_trial_and_its_trial_ends_with_it(warm, prepared):
    words = command(prepared, "--trials", "2", "--name", "a")
    process = subprocess.Popen([warm, *words], stdout=subprocess.PIPE)
    run = RunFolder(prepared.runs / "a-01")
    until = time.monotonic() + 120
    while not run.checkpoint.is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.communicate()  # until nobody writes there any more
    done = subprocess.run(
        [warm, *command(prepared, "--resume", "a", "--trials", "2", "--json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ended = [row for row in found["trials"] if row["state"] == "finished"]
    assert len(ended) == 2
    assert all(RunFolder(prepared.runs / row["run"]).finished for row in ended)
    assert len({row["run"] for row in found["trials"]}) == 2  # the killed run was gone on with
    best = RunFolder(prepared.runs / found["best"]["run"])
    kept = yaml.safe_load((prepared.studies / "a" / "best.yaml").read_text())
    assert kept == yaml.safe_load(best.config.read_text())
