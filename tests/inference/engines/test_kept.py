"""Graphs are made once, kept with the run and checked when they are read."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.data.logits import probabilities_of
from cxrtool.inference.engines import graphs as graphs
from cxrtool.inference.engines import kept as kept
from cxrtool.inference.engines.kept import find_graph, keep_graph
from tests.support.engines import GRAPHS, Noting, load, skip_without_extras

skip_without_extras()


def not_to_be_called(*_):
    raise AssertionError("a graph was made again")


@pytest.mark.parametrize("engine", GRAPHS)
def test_a_kept_graph_is_not_made_again(kept_run, pixels, expected, engine, monkeypatch):
    monkeypatch.setattr(graphs, "convert_openvino", not_to_be_called)
    monkeypatch.setattr(graphs, "convert_onnx", not_to_be_called)
    reporter = Noting()
    found = probabilities_of(load(kept_run, engine, reporter=reporter).submit(pixels)())
    assert np.abs(found - expected).max() < 1e-4
    assert reporter.notes == []


def test_a_damaged_graph_is_noticed_and_made_again(kept_run, pixels, expected, capfd):
    graph = find_graph(*kept_run, "openvino")
    weights = graph.path.with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0x40
    weights.write_bytes(content)
    assert find_graph(*kept_run, "openvino") is None
    reporter = Noting()
    found = probabilities_of(load(kept_run, "openvino", reporter=reporter).submit(pixels)())
    assert np.abs(found - expected).max() < 1e-4
    assert len(reporter.notes) == 1
    assert find_graph(*kept_run, "openvino") == graph
    assert capfd.readouterr() == ("", "")
    for name in ("graph.bin", "graph.xml", "graph.json"):
        (graph.path.parent / name).rename(graph.path.parent / "away")
        assert find_graph(*kept_run, "openvino") is None
        os.mkfifo(graph.path.parent / name)
        assert find_graph(*kept_run, "openvino") is None
        (graph.path.parent / "away").rename(graph.path.parent / name)


def test_a_kept_graph_of_another_run_under_this_ones_name_is_none(kept_run):
    run, card = kept_run
    mine = find_graph(run, card, "openvino").path.parent
    facts = read_json(mine / "graph.json")
    for other in ({"weights_sha256": "0" * 64}, {"fingerprint": "0" * 16}, {"sha256": {}}):
        values = {**facts, **other}
        write_json(mine / "graph.json", values)  # edited
        assert find_graph(run, card, "openvino") is None
        write_json(mine / "graph.json", {**values, "sealed": seal_of(values)})  # written so
        assert find_graph(run, card, "openvino") is None
    write_json(mine / "graph.json", facts)
    assert find_graph(run, card, "openvino") is not None


def test_whatever_shapes_the_graph_makes_another_one(kept_once):
    card = kept_once[1]
    changes = (
        {"weights_sha256": "0" * 64},
        {"arch": "resnet34"},
        {"image_size": 64},
        {"pixel_mean": card.pixel_mean + 1e-9},
        {"pixel_std": card.pixel_std + 1e-9},
        {"labels": card.labels[1:]},
    )
    prints = {kept.fingerprint(replace(card, **change), "openvino") for change in changes}
    assert len(prints - {kept.fingerprint(card, "openvino")}) == len(changes)
    assert kept.fingerprint(replace(card, thresholds={}), "openvino") == kept.fingerprint(
        card, "openvino"
    )


def test_graphs_of_other_weights_go_when_a_new_one_is_made(kept_run):
    run, card = kept_run
    (run.graphs / ".openvino-killed").mkdir()
    other = replace(card, weights_sha256="0" * 64)
    made = keep_graph(run, other, "openvino", lambda path: path.write_text("graph"))
    assert find_graph(run, other, "openvino") == made
    assert find_graph(run, card, "openvino") is None
    assert find_graph(run, card, "onnxruntime") is not None
    assert sorted(path.name for path in run.graphs.glob("*openvino*")) == [made.path.parent.name]


def test_who_wants_the_same_graph_at_once_waits_for_it(kept_run):
    run, card = kept_run
    other = replace(card, weights_sha256="0" * 64)
    calls = []

    def make(path):
        calls.append(path)
        time.sleep(0.2)
        path.write_text("graph")

    with ThreadPoolExecutor(5) as threads:
        wanted = [threads.submit(keep_graph, run, other, "openvino", make) for _ in range(5)]
        graphs = [one.result() for one in wanted]
    assert len(calls) == len({graph.path for graph in graphs}) == 1
    assert {graph.model for graph in graphs} == {b"graph"}


@pytest.mark.parametrize("error", [RunError("no"), KeyboardInterrupt()])
def test_a_graph_that_fails_leaves_nothing(kept_run, error):
    run, card = kept_run
    other = replace(card, weights_sha256="0" * 64)

    def make(path):
        path.write_text("half a graph")
        raise error

    with pytest.raises(type(error)):
        keep_graph(run, other, "openvino", make)
    assert list(run.graphs.glob("*openvino*")) == []


def test_what_cannot_be_converted_is_tried_once_and_is_no_matter_of_the_folder(kept_run):
    run, card = kept_run
    tried = []

    def make(path):
        tried.append(path)
        raise NotImplementedError("no such operator")

    with pytest.raises(NotImplementedError, match="no such operator"):
        keep_graph(run, replace(card, weights_sha256="0" * 64), "openvino", make)
    assert len(tried) == 1


def test_where_files_cannot_be_locked_the_graph_is_made_all_the_same(kept_run, monkeypatch):
    run, card = kept_run

    def no_locks(self):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(kept.FileLock, "acquire", no_locks)
    other = replace(card, weights_sha256="0" * 64)
    made = keep_graph(run, other, "openvino", lambda path: path.write_text("graph"))
    assert made.model == b"graph"
    assert run.graphs not in made.path.parents


def test_beside_a_run_that_cannot_be_written_to_the_graph_goes_with_the_process(kept_run):
    run, _ = kept_run
    shutil.rmtree(run.graphs)
    run.graphs.write_text("in the way")  # root may write to a folder that is locked
    code = (
        "from pathlib import Path\n"
        "from cxrtool.inference.engines.kept import keep_graph\n"
        "from cxrtool.core.console import Reporter\n"
        "from cxrtool.core.run_cards import read_card\n"
        "from cxrtool.core.runs import RunFolder\n"
        f"run = RunFolder(Path({str(run.path)!r}))\n"
        "make = lambda path: path.write_text('graph')\n"
        "print(keep_graph(run, read_card(run), 'openvino', make, Reporter()).path)\n"
    )
    before = {path.name: sha256(path) for path in run.path.iterdir() if path.is_file()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "for this time alone" in done.stderr
    graph = Path(done.stdout.strip())
    assert (graph.name, graph.parent.exists()) == ("graph.xml", False)
    assert before == {path.name: sha256(path) for path in run.path.iterdir() if path.is_file()}
