"""Options that several commands have."""

from cxrtool.core.config import worker_count


def test_every_core_decodes_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(40), raising=False)
    assert worker_count(None) == 8
    assert worker_count(None, most=None) == 40
    assert worker_count(3, most=None) == 3
