"""A trial as a process: what it tells, and how it ends."""

import pytest

from cxrtool.core.config import TrainConfig
from cxrtool.core.runs import RunFolder, trials_among
from cxrtool.search.trial_process import TrialConfig, _outcome, run_trial
from tests.support.searching import SEARCH


def test_a_trial_that_found_no_room_is_no_failed_one():
    kinds = {
        "NotWrittenError": "refused",
        "DataError": "refused",
        "RunError": "failed",
        "StoppedError": "stopped",
    }
    for name, kind in kinds.items():
        assert _outcome({"error": [name, "why"]}, 1, "", asked=False).kind == kind


@pytest.mark.slow
def test_a_trial_tells_how_it_goes_and_stops_when_asked(prepared):
    heard = []
    config = SEARCH.training()
    config = TrialConfig(**{**vars(config), "epochs": 50, "name": "one", "study": "a"})

    def stop():
        return any(kind == "score" for kind, _ in heard)

    outcome = run_trial(
        config,
        prepared,
        1,
        on_message=lambda kind, value: heard.append((kind, value)),
        shall_stop=stop,
    )
    assert outcome.kind == "stopped"
    run = RunFolder(prepared.runs / "one")
    assert run.checkpoint.is_file()
    assert trials_among([run.path]) == {"one": "a"}
    assert {"epoch", "score", "share", "note"} <= {kind for kind, _ in heard}


def test_a_trial_that_cannot_be_is_refused_with_its_error(prepared):
    config = TrainConfig(**{**vars(SEARCH.training()), "labels": "Nothing", "name": "one"})
    outcome = run_trial(config, prepared, 1, on_message=lambda *_: None, shall_stop=lambda: False)
    assert outcome.kind == "refused"
    assert "Nothing" in str(outcome.error)
