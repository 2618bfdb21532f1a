"""Engines: all give fp32 torch's probabilities; graphs are made once, kept and checked."""

import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import spearmanr

from cxrtool.core.errors import NotWrittenError, RunError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.hardware import native_bf16
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.data.logits import probabilities_of
from cxrtool.images.reading import load_pixels
from cxrtool.inference.engines import choose as choose
from cxrtool.inference.engines import graphs as graphs
from cxrtool.inference.engines import kept as kept
from cxrtool.inference.engines import openvino_engine as openvino_engine
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.engines.choose import choose_engine, load_engine, open_graph
from cxrtool.inference.engines.graph_files import read_graph
from cxrtool.inference.engines.graphs import (
    convert_onnx,
    convert_openvino,
    load_scoring,
    torch_probabilities,
)
from cxrtool.inference.engines.kept import find_graph, keep_graph
from cxrtool.inference.engines.onnx_engine import OnnxEngine
from cxrtool.inference.engines.openvino_engine import OpenVinoEngine
from cxrtool.inference.engines.torch_engine import TorchEngine, load_torch
from cxrtool.networks.architectures import build_network, head_of, score_batch
from cxrtool.networks.trained import load_network
from tests.conftest import Listening
from tests.support.copies import copy_folder
from tests.support.smaller import get_smaller

for package in ("openvino", "onnx", "onnxscript", "onnxruntime"):
    if find_spec(package) is None:
        pytest.skip("the extras cpu and export are not installed", allow_module_level=True)

GRAPHS = ("openvino", "onnxruntime")
ENGINES = ("torch", *GRAPHS)
NATIVE = native_bf16()


class Noting(Listening):
    """A reporter that keeps the notes too."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="session")
def kept_once(trained_once, tmp_path_factory):
    """The tiny run with kept graphs for both engines, and its card; not to be written to."""
    run = RunFolder(tmp_path_factory.mktemp("kept") / "tiny")
    copy_folder(trained_once.workspace.runs / "tiny", run.path)
    card = read_card(run)
    for engine in GRAPHS:
        load_engine(run, card, Compute(engine=engine, device="cpu"))
    return run, card


@pytest.fixture
def kept_run(kept_once, tmp_path):
    """The same, of the test's own."""
    run = RunFolder(tmp_path / "tiny")
    copy_folder(kept_once[0].path, run.path)
    return run, kept_once[1]


@pytest.fixture(scope="session")
def pixels(trained_once):
    """All drawn images as the tiny network sees them."""
    files = sorted((trained_once.data / "train").rglob("*.jpg"))
    return np.stack([load_pixels(path, 32) for path in files])


@pytest.fixture(scope="session")
def expected(kept_once, pixels):
    return torch_probabilities(load_scoring(*kept_once), pixels)


def load(kept_run, engine, precision="fp32", images=None, **options):
    compute = Compute(engine=engine, device="cpu", precision=precision, images=images)
    return load_engine(*kept_run, compute, **options)


def not_to_be_called(*_):
    raise AssertionError("a graph was made again")


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_gives_fp32_torchs_probabilities(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    assert (loaded.name, loaded.device, loaded.precision) == (engine, "cpu", "fp32")
    found = probabilities_of(loaded.submit(pixels)())
    assert expected.std(axis=0).min() > 1e-3  # otherwise anything would do
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.skipif(not NATIVE, reason="this processor has no bf16")
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bf16_changes_little_and_hardly_the_ranks(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine, "bf16")
    assert loaded.precision == "bf16"
    found = probabilities_of(loaded.submit(pixels)())
    assert 0 < np.abs(found - expected).max() < 0.02
    for label in range(expected.shape[1]):
        assert spearmanr(found[:, label], expected[:, label])[0] > 0.98
        # The last layer is not rounded: otherwise many images would share a score.
        assert len(np.unique(found[:, label])) > 0.95 * len(np.unique(expected[:, label]))


def run_of(arch, folder, card):
    """A run's weights and card as if it were trained: norms that have seen images."""
    torch.manual_seed(0)
    network = build_network(arch, 3).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all that it has seen
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(16, 1, 32, 32).expand(-1, 3, -1, -1))
        head_of(network).weight.mul_(4)
    run = RunFolder(folder)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, run.weights)
    return run, replace(card, arch=arch, labels=("a", "b", "c"), pixel_mean=0.5, pixel_std=0.29)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["densenet121", "convnext_tiny", "efficientnet_b0", "swin_v2_t"])
def test_each_family_has_graphs_that_score_as_torch_does(
    kept_once, tmp_path, arch, capfd, monkeypatch
):
    # Every kind of layer is there; of whole ones the exporters take half a minute each. Of this one
    # only the whole network showed what several streams did to it.
    if arch != "swin_v2_t":
        monkeypatch.setattr("torchvision.models.get_model", get_smaller)
    run, card = run_of(arch, tmp_path, kept_once[1])
    pixels = np.random.default_rng(1).integers(0, 256, (7, 32, 32), dtype=np.uint8)
    expected = torch_probabilities(load_scoring(run, card), pixels)
    assert expected.std(axis=0).min() > 1e-3  # otherwise anything would do
    # On some processors torch's own two ways of computing differ by nearly 1e-4.
    with torch.backends.mkldnn.flags(enabled=False):
        rounding = np.abs(torch_probabilities(load_scoring(run, card), pixels) - expected).max()
    assert rounding < 1e-4
    convert_openvino(run, card, tmp_path / "graph.xml")
    engines = [OpenVinoEngine(read_graph(tmp_path / "graph.xml"), precision="fp32")]
    if arch == "swin_v2_t":  # the one that exporters find the hardest
        convert_onnx(run, card, tmp_path / "graph.onnx")
        # With several streams half of them were wrong.
        graph = read_graph(tmp_path / "graph.onnx")
        engines += [OpenVinoEngine(graph, precision="fp32", images=images) for images in (1, 9, 9)]
        engines.append(OnnxEngine(graph))
    for engine in engines:
        for fetch in [engine.submit(pixels) for _ in range(engine.depth)]:
            assert np.abs(probabilities_of(fetch()) - expected).max() < max(1e-4, 2 * rounding)
    assert capfd.readouterr() == ("", "")


def test_openvino_scores_many_images_in_parts_with_a_stream_each(kept_once):
    graph = find_graph(*kept_once, "openvino")
    threads = {}
    for images in (None, 4, 5):
        made = OpenVinoEngine(graph, precision="fp32", images=images)._compiled
        assert {one.get_property("NUM_STREAMS") for one in made} == {1}
        threads[images] = [one.get_property("INFERENCE_NUM_THREADS") for one in made]
    (cores,) = threads[None]
    assert threads[4] == [cores]
    assert sum(threads[5]) == cores
    assert len(threads[5]) > 1 or cores % 2 != 0


def test_torch_scores_as_a_plain_call_of_the_network_does(kept_once, pixels):
    run, card = kept_once
    for precision in ("fp32", "bf16"):
        engine = load_torch(run, card, Compute(device="cpu", precision=precision))
        plain = score_batch(
            load_network(run, card, "cpu"),
            pixels,
            mean=card.pixel_mean,
            std=card.pixel_std,
            device=torch.device("cpu"),
            precision=precision,
        )
        assert np.abs(probabilities_of(engine.submit(pixels)()) - plain).max() < 1e-6


@pytest.fixture
def four_cores():
    """As if this machine had four, whatever the tests are told to use."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_of_many_images_torch_scores_several_batches_at_once(
    kept_once, pixels, expected, four_cores, monkeypatch
):
    engine = load(kept_once, "torch", images=len(pixels))
    assert torch.get_num_threads() == 4
    meeting, cores = threading.Barrier(4), []
    score = engine._score

    def meet(images):
        cores.append(torch.get_num_threads())
        meeting.wait(timeout=60)  # all four are here, or none goes on
        return score(images)

    monkeypatch.setattr(engine, "_score", meet)
    parts = [slice(at, at + 4) for at in range(0, 32, 4)]
    pending = [engine.submit(pixels[part]) for part in parts]
    for part, fetch in zip(parts, pending, strict=True):
        assert np.abs(probabilities_of(fetch()) - expected[part]).max() < 1e-4
    assert cores == [1] * 8
    assert engine.depth == 5


@pytest.mark.parametrize("images", [None, 1, 8])
def test_of_few_images_all_cores_score_a_batch(kept_once, pixels, four_cores, monkeypatch, images):
    engine = load(kept_once, "torch", images=images)
    cores, score = [], engine._score
    monkeypatch.setattr(
        engine, "_score", lambda x: (cores.append(torch.get_num_threads()), score(x))[1]
    )
    engine.submit(pixels[:4])()
    assert (cores, engine.depth) == ([4], 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_scores_batches_in_flight(kept_once, pixels, expected):
    run, card = kept_once
    device = torch.device("cuda")
    engine = TorchEngine(
        load_network(run, card, device),
        mean=card.pixel_mean,
        std=card.pixel_std,
        device=device,
        precision="fp32",
    )
    pending = [engine.submit(pixels[at : at + 16].copy()) for at in range(0, len(pixels), 16)]
    found = probabilities_of(np.concatenate([fetch() for fetch in pending]))
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_of_any_size_are_in_flight_at_once(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    rng = np.random.default_rng(3)
    for _ in range(4):
        starts = rng.integers(0, len(pixels) - 17, 5)  # more than `depth`
        sizes = rng.integers(1, 17, 5)
        parts = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        pending = [loaded.submit(pixels[part]) for part in parts]
        results = [fetch() for fetch in pending]
        loaded.submit(pixels[:16])()  # what was fetched stays as it is
        for part, found in zip(parts, results, strict=True):
            assert np.abs(probabilities_of(found) - expected[part]).max() < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_as_pillow_gives_them_are_taken_in_silence(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    locked = pixels[:3].copy()
    locked.flags.writeable = False
    turned = pixels[:3].transpose(0, 2, 1).copy().transpose(0, 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images in (locked, turned):
            assert np.abs(probabilities_of(loaded.submit(images)()) - expected[:3]).max() < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_ten_threads_get_ten_right_answers(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    begin = threading.Barrier(10)

    def worst(thread):
        begin.wait()
        errors = []
        for turn in range(6):
            part = slice(thread * 4 + turn, thread * 4 + turn + 1 + (thread + turn) % 4)
            found = probabilities_of(loaded.submit(pixels[part])())
            errors.append(np.abs(found - expected[part]).max())
        return max(errors)

    with ThreadPoolExecutor(10) as threads:
        assert max(threads.map(worst, range(10))) < 1e-4


@pytest.mark.parametrize("engine", GRAPHS)
def test_a_kept_graph_is_not_made_again(kept_run, pixels, expected, engine, monkeypatch):
    monkeypatch.setattr(graphs, "convert_openvino", not_to_be_called)
    monkeypatch.setattr(graphs, "convert_onnx", not_to_be_called)
    reporter = Noting()
    found = probabilities_of(load(kept_run, engine, reporter=reporter).submit(pixels)())
    assert np.abs(found - expected).max() < 1e-4
    assert reporter.notes == []


def run_alone(code, home):
    """Run Python without any variable but a home of its own, which must stay empty."""
    home.mkdir()
    variables = {"HOME": str(home), "PATH": "", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(home.iterdir()) == []
    return done.stdout.split()


LOADED = (
    "import sys\n"
    "import numpy as np\n"
    "from pathlib import Path\n"
    "from cxrtool.inference.engines.base import Compute\n"
    "from cxrtool.inference.engines.choose import load_engine\n"
    "from cxrtool.core.runs import RunFolder, read_card\n"
    "run = RunFolder(Path({path!r}))\n"
    "for engine in ('openvino', 'onnxruntime'):\n"
    "    loaded = load_engine(run, read_card(run), Compute(engine=engine))\n"
    "    loaded.submit(np.zeros((1, 32, 32), np.uint8))()\n"
    "print(sys.modules.get('openvino_telemetry'))\n"
    "print(*[name for name in ('torch', 'pandas', 'onnx') if name in sys.modules])\n"
)


def test_with_kept_graphs_no_torch_is_imported_and_nothing_is_sent(kept_once, tmp_path):
    found = run_alone(LOADED.format(path=str(kept_once[0].path)), tmp_path / "home")
    assert found == ["None"]


def test_a_signal_is_heard_after_engines_have_gone_in_the_order_in_which_they_came(kept_once):
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from cxrtool.inference.engines.graph_files import read_graph\n"
        "from cxrtool.inference.engines.openvino_engine import OpenVinoEngine\n"
        f"graph = read_graph(Path({str(find_graph(*kept_once, 'openvino').path)!r}))\n"
        "engines = [OpenVinoEngine(graph, precision='fp32') for _ in range(3)]\n"
        "while engines:\n"
        "    engines.pop(0)\n"
        "signal.signal(signal.SIGINT, lambda *_: print('heard'))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")


@pytest.mark.slow
def test_making_graphs_sends_nothing_and_says_nothing(kept_run, tmp_path):
    shutil.rmtree(kept_run[0].graphs)
    found = run_alone(LOADED.format(path=str(kept_run[0].path)), tmp_path / "home")
    assert found == ["None", "torch", "onnx"]


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


def test_engines_get_the_bytes_that_were_checked_whatever_becomes_of_the_files(kept_run, pixels):
    run, card = kept_run
    for name, suffixes in (("openvino", (".xml",)), ("onnxruntime", (".onnx",))):
        graph = find_graph(run, card, name)
        expected = open_graph(graph, name, "fp32", None).submit(pixels)()
        for suffix in suffixes:
            graph.path.with_suffix(suffix).write_bytes(b"another network")
        assert np.array_equal(open_graph(graph, name, "fp32", None).submit(pixels)(), expected)
        shutil.rmtree(graph.path.parent)
        assert np.array_equal(open_graph(graph, name, "fp32", None).submit(pixels)(), expected)


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
        "from cxrtool.core.runs import RunFolder, read_card\n"
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


def test_no_room_for_a_graph_is_one_message_with_another_engine(trained, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr("openvino.save_model", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = RunFolder(trained.workspace.runs / trained.run)
    noting = Noting()
    with pytest.raises(NotWrittenError, match=r"graph\.xml: OpenVINO could.*--engine torch"):
        load_engine(run, read_card(run), Compute(engine="openvino", device="cpu"), noting)
    assert any("for this time alone" in text for text in noting.notes)
    assert list(run.graphs.glob("openvino-*")) == []


def test_a_graph_that_scores_otherwise_is_not_kept(kept_run, pixels, expected, monkeypatch):
    shutil.rmtree(kept_run[0].graphs)
    real = graphs.torch_probabilities
    monkeypatch.setattr(graphs, "torch_probabilities", lambda *given: real(*given) + 2e-3)
    with pytest.raises(RunError, match=r"does not score as torch does.*--engine torch"):
        load(kept_run, "openvino")
    assert list(kept_run[0].graphs.glob("*openvino*")) == []
    # Where nobody asked for OpenVINO, torch takes over and says so.
    monkeypatch.setattr(choose, "choose_engine", lambda *_: "openvino")
    reporter = Noting()
    engine = load(kept_run, "auto", reporter=reporter)
    assert engine.name == "torch"
    assert len(reporter.warnings) == 1
    assert np.abs(probabilities_of(engine.submit(pixels)()) - expected).max() < 1e-4


def test_few_images_are_scored_by_torch_until_there_is_a_graph(kept_run, monkeypatch):
    monkeypatch.setattr(choose, "choose_engine", lambda *_: "openvino")
    assert load(kept_run, "auto", images=1).name == "openvino"
    shutil.rmtree(kept_run[0].graphs)
    reporter = Noting()
    assert load(kept_run, "auto", images=choose.FEW, reporter=reporter).name == "torch"
    assert "--engine openvino" in reporter.notes[0]
    assert not kept_run[0].graphs.exists()
    assert load(kept_run, "auto", images=choose.FEW + 1).name == "openvino"


@pytest.mark.parametrize(
    ("installed", "native", "precision", "chosen"),
    [
        (ENGINES, True, "auto", "openvino"),
        (ENGINES, False, "auto", "openvino"),
        (ENGINES, True, "fp32", "openvino"),
        (ENGINES, False, "bf16", "torch"),
        (ENGINES, True, "fp16", "torch"),
        (("onnxruntime",), True, "auto", "torch"),
        (("onnxruntime",), False, "auto", "onnxruntime"),
        (("onnxruntime",), True, "fp32", "onnxruntime"),
        ((), False, "auto", "torch"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed(
    installed, native, precision, chosen, monkeypatch
):
    monkeypatch.setattr(choose, "are_installed", lambda packages: packages[0] in installed)
    monkeypatch.setattr(choose, "native_bf16", lambda: native)
    monkeypatch.setattr(choose, "gpu_seems_there", lambda: False)
    assert choose_engine("auto", precision) == choose_engine("cpu", precision) == chosen
    assert choose_engine("cuda:1", precision) == choose_engine("mps", precision) == "torch"


def test_auto_asks_torch_only_where_a_gpu_seems_to_be_there(monkeypatch):
    monkeypatch.setattr(choose, "gpu_seems_there", lambda: True)
    for kind, chosen in (("cuda", "torch"), ("cpu", "openvino")):
        monkeypatch.setattr(
            "cxrtool.networks.devices.choose_device", lambda _, k=kind: torch.device(k)
        )
        assert choose_engine("auto", "fp32") == chosen


def test_an_engine_that_cannot_be_had_is_wrong_use(kept_once, monkeypatch):
    for engine in GRAPHS:
        with pytest.raises(UsageError, match=r"--device cuda: .*--engine torch"):
            load_engine(*kept_once, Compute(engine=engine, device="cuda"))
        with pytest.raises(UsageError, match="--precision fp16"):
            load(kept_once, engine, "fp16")
    with pytest.raises(UsageError, match="--precision bf16"):
        load(kept_once, "onnxruntime", "bf16")
    monkeypatch.setattr(openvino_engine, "native_bf16", lambda: False)
    with pytest.raises(UsageError, match="--precision bf16"):
        load(kept_once, "openvino", "bf16")
    assert load(kept_once, "openvino", "auto").precision == "fp32"
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    for engine, extra in (("openvino", "cpu"), ("onnxruntime", "export")):
        with pytest.raises(UsageError, match=rf"not installed: .*cxrtool\[{extra}\]"):
            load(kept_once, engine)
