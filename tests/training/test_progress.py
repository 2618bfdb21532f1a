"""What is watched during a training."""

from dataclasses import replace

from cxrtool.core import hardware
from cxrtool.training import progress as progress
from tests.conftest import TINY


def test_training_says_so_once(prepared, monkeypatch):
    from cxrtool.core.console import Reporter
    from cxrtool.workflows.train import train_model

    notes = []
    reporter = Reporter(progress=False)
    monkeypatch.setattr(reporter, "note", notes.append)
    waits = iter(range(0, 10**6, 1000))
    monkeypatch.setattr(progress, "core_waits", lambda: {"1": float(next(waits))})
    monkeypatch.setattr(hardware, "LEAST_SECONDS", 0.0)
    train_model(replace(TINY, limit=32, validations=2), prepared, seed=1, reporter=reporter)
    assert sum("other processes use the cores" in note for note in notes) == 1
