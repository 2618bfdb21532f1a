"""Trial after trial: what fails, what is killed and what ends a search."""

import time

import pandas as pd
import pytest

from cxrtool.core.errors import DataError, NotWrittenError, RunError, StoppedError
from cxrtool.search import worker as tune_worker
from cxrtool.search.trial_process import Outcome
from tests.conftest import Listening
from tests.support.searching import interrupted, pretend, search


def test_what_was_stopped_is_done_again_and_nothing_is_lost(undrawn, monkeypatch):
    whole = search(undrawn, name="whole")
    calls = []

    def stopped(config, workspace, seed, *, on_message, shall_stop):
        calls.append(config)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(undrawn, name="a")
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    found = search(undrawn, resume="a")
    states = [row["state"] for row in found.trials]
    assert states == ["finished", "died, again as 3", "finished", "finished", "finished"]
    ended = [row["values"] for row in found.trials if row["state"] == "finished"]
    assert ended == [row["values"] for row in whole.trials]


def test_after_its_time_nothing_is_begun(undrawn, monkeypatch):
    begun = []

    def third_is_slow(config, workspace, seed, *, on_message, shall_stop):
        begun.append(config)
        if len(begun) < 3:
            return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)
        while not shall_stop():
            time.sleep(0.02)
        return Outcome("stopped")

    monkeypatch.setattr(tune_worker, "run_trial", third_is_slow)
    found = search(undrawn, name="a", trials=50, timeout=4 / 60)
    assert len(begun) == 3
    stopped = ["died, again as 4", "waiting"]
    assert [row["state"] for row in found.trials] == ["finished", "finished", *stopped]
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    assert len(search(undrawn, resume="a", trials=3).trials) == 4


def test_a_trial_that_fails_counts_and_says_why(pretended, monkeypatch):
    def fails(config, workspace, seed, *, on_message, shall_stop):
        if config.lr > 1e-4:
            return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)
        return Outcome("failed", reason="the loss is no number")

    monkeypatch.setattr(tune_worker, "run_trial", fails)
    listening = Listening()
    found = search(pretended, listening, name="a", trials=8)
    failed = [row for row in found.trials if row["state"] == "failed"]
    assert failed
    assert all(row["reason"] == "the loss is no number" for row in failed)
    assert len(found.trials) == 8
    assert any("no number" in text for text in listening.warnings)
    assert found.best["values"]["lr"] > 1e-4


def test_trials_that_all_fail_end_the_search(undrawn, monkeypatch):
    monkeypatch.setattr(tune_worker, "run_trial", lambda *_, **__: Outcome("failed", reason="full"))
    with pytest.raises(RunError, match=r"first 3 trials all failed.*full"):
        search(undrawn, name="a", trials=9)


def test_a_search_without_a_score_is_an_error_with_the_first_reason(undrawn, monkeypatch):
    """Fewer trials than are needed to give up."""
    reasons = iter(["no room", "no number"])
    monkeypatch.setattr(
        tune_worker, "run_trial", lambda *_, **__: Outcome("failed", reason=next(reasons))
    )
    with pytest.raises(RunError, match=r"2 trials of study a ended.*the first: no room"):
        search(undrawn, name="a", trials=2)
    assert len(pd.read_csv(undrawn.studies / "a" / "trials.csv")) == 2
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    assert search(undrawn, resume="a", trials=3).best["trial"] == 3


def test_what_no_trial_can_do_ends_the_search_and_leaves_nothing(undrawn, monkeypatch):
    error = DataError("no positive image")
    monkeypatch.setattr(tune_worker, "run_trial", lambda *_, **__: Outcome("refused", error=error))
    with pytest.raises(DataError, match="no positive image"):
        search(undrawn, name="a")
    assert not (undrawn.studies / "a").exists()


def refused_then_resumed(workspace, monkeypatch, error, refused, **given):
    """A search that a trial's error ends, and what resuming it comes to."""
    monkeypatch.setattr(tune_worker, "run_trial", refused)
    said = Listening()
    said.note = said.warn
    with pytest.raises(type(error), match=str(error)):
        search(workspace, said, trials=2, **given)
    assert any("tune --resume a --trials 2" in text for text in said.warnings)
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    found = search(workspace, resume="a", trials=2).trials
    return [row["values"] for row in found if row["state"] == "finished"]


@pytest.mark.parametrize("error", [DataError("an image is gone"), NotWrittenError("no room")])
def test_a_search_is_kept_whose_trial_left_a_run(undrawn, monkeypatch, error):
    expected = [row["values"] for row in search(undrawn, name="whole", trials=2).trials]

    def refused(config, *_, **__):
        (undrawn.runs / config.name).mkdir(parents=True)
        return Outcome("refused", error=error)

    found = refused_then_resumed(undrawn, monkeypatch, error, refused, name="a")
    assert found == expected


def test_a_search_that_is_resumed_is_kept_whatever_ends_it(undrawn, monkeypatch):
    """It was stopped in its first trial, which may have taken hours, and then an image is gone."""
    expected = [row["values"] for row in search(undrawn, name="whole", trials=2).trials]
    monkeypatch.setattr(tune_worker, "run_trial", interrupted)
    with pytest.raises(StoppedError):
        search(undrawn, name="a", trials=2)
    error = DataError("an image is gone")
    refused = lambda *_, **__: Outcome("refused", error=error)  # noqa: E731
    assert refused_then_resumed(undrawn, monkeypatch, error, refused, resume="a") == expected


def test_what_is_killed_twice_has_failed(pretended, monkeypatch):
    killed = Outcome("killed", reason="killed by SIGKILL")
    seen = []

    def first_is_killed(config, workspace, seed, *, on_message, shall_stop):
        seen.append(config.lr)
        if config.lr == seen[0]:
            return killed
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", first_is_killed)
    found = search(pretended, name="a", trials=3)
    assert [row["state"] for row in found.trials] == [
        *("died, again as 2", "failed", "finished", "finished")
    ]


def test_a_trial_below_the_median_is_pruned(pretended, monkeypatch):
    asked = []

    def worse(config, workspace, seed, *, on_message, shall_stop):
        asked.append(config)
        value = 0.9 if len(asked) <= 3 else 0.5
        on_message("score", value)
        if shall_stop():
            return Outcome("stopped")
        return Outcome("done", {"best_epoch": 1, "valid_mean_auroc": value})

    monkeypatch.setattr(tune_worker, "run_trial", worse)
    found = search(pretended, name="a", trials=5, prune=True)
    assert [row["state"] for row in found.trials] == ["finished"] * 3 + ["pruned"] * 2
    asked.clear()
    assert {row["state"] for row in search(pretended, name="b", trials=5).trials} == {"finished"}


def test_ctrl_c_leaves_a_study_to_go_on_with(undrawn, monkeypatch):
    monkeypatch.setattr(tune_worker, "run_trial", interrupted)
    with pytest.raises(StoppedError, match="cxrtool tune --resume a --trials 3"):
        search(undrawn, name="a", trials=3)
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    found = search(undrawn, resume="a", trials=3)
    assert sum(row["state"] == "finished" for row in found.trials) == 3
