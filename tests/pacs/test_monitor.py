"""The pages for whoever watches a listener."""

import json
import urllib.error
import urllib.request

import pytest

from cxrtool.core.errors import DataError
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.monitor import monitor


def get(port, page):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics_are_served_as_they_are_at_the_moment(capfd):
    counts, state = ListenCounts(), {"ok": True, "why": ""}
    lengths = {"incoming": 0, "outbox": 2}
    counts.queues(lambda: lengths)
    with monitor(0, lambda: dict(state), counts.text) as port:
        assert get(port, "/health") == (200, json.dumps(state, indent=1))
        state.update(ok=False, why="the scoring process is not ready")
        assert get(port, "/health")[0] == 503
        lengths["incoming"] = 7
        counts.instance("new")
        counts.scored(0.5)
        status, text = get(port, "/metrics")
        assert status == 200
        for line in (
            'cxrtool_spool_studies{state="incoming"} 7.0',
            'cxrtool_spool_studies{state="outbox"} 2.0',
            'cxrtool_instances_total{state="new"} 1.0',
            "cxrtool_study_seconds_count 1.0",
        ):
            assert line in text
        assert get(port, "/else")[0] == 404
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_is_named():
    with (
        monitor(0, dict, str) as port,
        pytest.raises(DataError, match=f"--monitor-port {port}"),
        monitor(port, dict, str),
    ):
        pass
