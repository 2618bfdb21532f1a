"""What the tests of `tune` share: trainings that take no time, and a search as a process."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import log10
from pathlib import Path

import pytest

from cxrtool.core.config import TuneConfig
from cxrtool.core.console import Reporter
from cxrtool.core.workspace import Workspace
from cxrtool.search import worker as tune_worker
from cxrtool.search.trial_process import Outcome
from cxrtool.workflows import tune
from cxrtool.workflows.tune import tune_model
from tests.conftest import TINY
from tests.support.smaller import get_smallest

SEARCH = TuneConfig(
    **{name: getattr(TINY, name) for name in ("arch", "weights", "epochs", "image_size")},
    **{name: getattr(TINY, name) for name in ("batch_size", "workers", "precision", "device")},
    trials=4,
)


def score(config):
    """What a training scores that is not done."""
    return 0.8 - 0.03 * abs(log10(config.lr) + 4) - 0.003 * abs(log10(config.weight_decay) + 3)


def pretend(config, workspace, seed, *, on_message, shall_stop):
    """A trial without a training: two validations, the second the better."""
    on_message("epoch", "epoch 1/2")
    for value in (score(config) - 0.1, score(config)):
        on_message("score", value)
        if shall_stop():
            return Outcome("stopped")
    return Outcome("done", {"best_epoch": 2, "valid_mean_auroc": score(config)})


ROOT = Path(__file__).parents[2]


def search(workspace, reporter=None, given=(), **options):
    """`tune`, as the command calls it."""
    config = replace(SEARCH, **options)
    told = {} if reporter is None else {"reporter": reporter}
    given = {*given, *({"trials"} & set(options))}
    return tune_model(config, workspace, seed=1, given=given, **told)


def interrupted(config, workspace, seed, *, on_message, shall_stop):
    """A trial during which Ctrl-C is pressed."""
    os.kill(os.getpid(), signal.SIGINT)
    return Outcome("stopped") if shall_stop() else None


@pytest.fixture
def pretended(prepared, monkeypatch):
    """A workspace in which trials are not trained, so that a network's size is no matter."""
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    monkeypatch.setattr("torchvision.models.get_model", get_smallest)
    return prepared


@pytest.fixture
def undrawn(pretended, monkeypatch):
    """As above, and the search is not drawn, which takes most of its time here."""
    monkeypatch.setattr(tune, "draw_study", lambda *_: [])
    return pretended


def search_as_process(warm, folder, storage, slow, *options):
    """A search in a process of its own, whose trials take `slow` seconds and train nothing."""
    return subprocess.Popen(
        [warm, __file__, str(folder), storage, str(slow), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main(folder, storage, slow, beat=None, silence=None):
    """The process."""
    from cxrtool.search import study_storage as study_storage

    if beat is not None:
        study_storage.BEAT, study_storage.SILENCE = int(beat), int(silence)

    def slowly(config, workspace, seed, *, on_message, shall_stop):
        until = time.monotonic() + float(slow)
        while time.monotonic() < until:
            shall_stop()
            time.sleep(0.05)
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    tune_worker.run_trial = slowly
    loud = Reporter(progress=False)
    result = search(Workspace(Path(folder)), loud, storage=storage, name="shared", trials=12)
    print(len(result.trials))


if __name__ == "__main__":
    main(*sys.argv[1:])
