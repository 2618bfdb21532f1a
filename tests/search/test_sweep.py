"""The exchange with Weights & Biases, at the client's public functions: a stand-in has them."""

import random
import sys
import threading
import types

import pytest

from cxrtool.core.errors import RunError, UsageError
from cxrtool.search import worker as tune_worker
from cxrtool.search.trial_process import Outcome
from tests.conftest import Listening
from tests.support.searching import pretend, search


class Sweeps(types.ModuleType):
    """What a server and its agent do, in a few lines."""

    def __init__(self):
        super().__init__("wandb")
        self.random, self.runs, self.config, self.error = random.Random(3), [], None, None
        self.Settings = dict
        self.more = {}

    def sweep(self, config, project=None):
        if self.error:
            raise self.error
        self.config, self.project = config, project
        return "sweep1"

    def agent(self, sweep, function=None, count=None, project=None):
        assert (sweep, project) == ("sweep1", "cxrtool")
        for _ in range(count):
            thread = threading.Thread(target=function)  # as the real one does
            thread.start()
            thread.join()

    def init(self, **given):
        assert "mode" not in given
        values = {
            "lr": 10 ** self.random.uniform(-5, -2),
            "weight_decay": 10 ** self.random.uniform(-6, -1),
            "plateau_patience": float(self.random.randint(1, 4)),
            **self.more,
        }
        run = types.SimpleNamespace(config=values, logged=[], given=given, code=None)
        run.log = run.logged.append
        run.finish = lambda exit_code=0: setattr(run, "code", exit_code)
        self.runs.append(run)
        return run


@pytest.fixture
def wandb(monkeypatch):
    module = Sweeps()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    return module


def test_a_sweep_is_made_and_its_proposals_are_trained(wandb, prepared):
    found = search(prepared, name="a", backend="wandb", trials=4)
    assert wandb.config["method"] == "bayes"
    assert wandb.config["metric"] == {"name": "best_valid_mean_auroc", "goal": "maximize"}
    assert set(wandb.config["parameters"]) == {"lr", "weight_decay", "plateau_patience"}
    assert [row["values"]["lr"] for row in found.trials] == [run.config["lr"] for run in wandb.runs]
    assert [type(row["values"]["plateau_patience"]) for row in found.trials] == [int] * 4
    for row, run in zip(found.trials, wandb.runs, strict=True):
        assert run.logged[-1] == {
            "valid_mean_auroc": row["valid_mean_auroc"],
            "best_valid_mean_auroc": row["valid_mean_auroc"],
        }
        assert run.code == 0
        assert row["run"] == f"a-{row['trial']:02d}"
    assert found.best["valid_mean_auroc"] == max(r["valid_mean_auroc"] for r in found.trials)
    assert (found.folder / "best.yaml").is_file()


def test_nothing_but_figures_is_sent(wandb, undrawn):
    search(undrawn, name="a", backend="wandb", trials=1)
    run = wandb.runs[0]
    assert all(isinstance(value, float) for row in run.logged for value in row.values())
    assert run.given["settings"]["disable_git"]
    assert run.given["settings"]["console"] == "off"
    assert str(undrawn.folder) not in str(wandb.config)


def test_more_trials_come_from_the_same_sweep(wandb, undrawn):
    search(undrawn, name="a", backend="wandb", trials=2)
    wandb.error = AssertionError("it was made already")
    found = search(undrawn, resume="a", backend="wandb", trials=3)
    assert [row["state"] for row in found.trials] == ["finished"] * 3


def test_a_sweep_can_be_joined(wandb, undrawn):
    wandb.error = AssertionError("it is there already")
    found = search(undrawn, name="a", backend="wandb", trials=2, sweep="sweep1")
    assert len(found.trials) == 2


def test_a_sweep_of_something_else_is_refused(wandb, undrawn):
    wandb.more = {"momentum": 0.9}
    with pytest.raises(UsageError, match=r"searches .*momentum.*--space"):
        search(undrawn, name="a", backend="wandb", sweep="sweep1")
    wandb.more = {"plateau_patience": 9}
    with pytest.raises(UsageError, match="plateau_patience 9 is not in the space"):
        search(undrawn, name="a", backend="wandb", sweep="sweep1")


def test_not_logged_in_is_one_message_before_any_training(wandb, undrawn):
    wandb.error = ValueError("No API key configured.\nUse wandb login")
    with pytest.raises(RunError, match=r"No API key configured\.\): log in with `wandb login`"):
        search(undrawn, name="a", backend="wandb")
    assert not wandb.runs
    assert not (undrawn.studies / "a").exists()


def test_a_failed_trial_is_failed_there_too(wandb, undrawn, monkeypatch):
    def fails(config, workspace, seed, *, on_message, shall_stop):
        if len(wandb.runs) == 2:
            return Outcome("failed", reason="the loss is no number")
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", fails)
    listening = Listening()
    found = search(undrawn, listening, name="a", backend="wandb", trials=3)
    assert [row["state"] for row in found.trials] == ["finished", "failed", "finished"]
    assert [run.code for run in wandb.runs] == [0, 1, 0]


def test_an_agent_without_proposals_ends_the_search(wandb, undrawn):
    search(undrawn, name="a", backend="wandb", trials=1)
    wandb.agent = lambda *_, **__: None
    found = search(undrawn, resume="a", backend="wandb", trials=5)
    assert len(found.trials) == 1
