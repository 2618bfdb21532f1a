"""A graph scores as torch does, or is not made."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from cxrtool.core.errors import NotWrittenError, RunError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.data.logits import probabilities_of
from cxrtool.inference.engines import choose as choose
from cxrtool.inference.engines import graphs as graphs
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.engines.choose import load_engine
from cxrtool.inference.engines.graph_files import read_graph
from cxrtool.inference.engines.graphs import (
    convert_onnx,
    convert_openvino,
    load_scoring,
    torch_probabilities,
)
from cxrtool.inference.engines.onnx_engine import OnnxEngine
from cxrtool.inference.engines.openvino_engine import OpenVinoEngine
from cxrtool.networks.architectures import build_network, head_of
from tests.support.engines import LOADED, Noting, load, run_alone, skip_without_extras
from tests.support.smaller import get_smaller, small_swin

skip_without_extras()


def run_of(arch, folder, card):
    """A run's weights and card as if it were trained: norms that have seen images."""
    torch.manual_seed(0)
    network = build_network(arch, 3, image_size=32).train()
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


def check(engines, run, card):
    """Each gives torch's probabilities, however many batches it is given at once."""
    pixels = np.random.default_rng(1).integers(0, 256, (7, 32, 32), dtype=np.uint8)
    expected = torch_probabilities(load_scoring(run, card), pixels)
    assert expected.std(axis=0).min() > 1e-3  # otherwise anything would do
    # On some processors torch's own two ways of computing differ by nearly 1e-4.
    with torch.backends.mkldnn.flags(enabled=False):
        rounding = np.abs(torch_probabilities(load_scoring(run, card), pixels) - expected).max()
    assert rounding < 1e-4
    for engine in engines:
        for fetch in [engine.submit(pixels) for _ in range(engine.depth)]:
            assert np.abs(probabilities_of(fetch()) - expected).max() < max(1e-4, 2 * rounding)


@pytest.mark.parametrize(
    "arch",
    [
        *("densenet121", "convnext_tiny", "efficientnet_b0", "swin_v2_t"),
        *("timm/test_vit", "timm/test_vit4"),
    ],
)
def test_each_family_has_graphs_that_score_as_torch_does(
    kept_once, tmp_path, arch, capfd, monkeypatch
):
    # Every kind of layer is there; of whole ones the exporters take half a minute each.
    monkeypatch.setattr("torchvision.models.get_model", get_smaller)
    run, card = run_of(arch, tmp_path, kept_once[1])
    convert_openvino(run, card, tmp_path / "graph.xml")
    check([OpenVinoEngine(read_graph(tmp_path / "graph.xml"), precision="fp32")], run, card)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_network_of_full_width_has_an_onnx_that_scores_as_torch_does(
    kept_once, tmp_path, capfd, monkeypatch
):
    """The one that exporters find the hardest, and of which several streams gave wrong scores: one
    compilation in four of this one, none of narrower ones."""
    wide = partial(small_swin, SwinTransformerBlockV2, PatchMergingV2, width=96, depth=2)
    monkeypatch.setattr("torchvision.models.get_model", lambda *_, **__: wide())
    run, card = run_of("swin_v2_t", tmp_path, kept_once[1])
    convert_onnx(run, card, tmp_path / "graph.onnx")
    graph = read_graph(tmp_path / "graph.onnx")
    engines = [OpenVinoEngine(graph, precision="fp32", images=images) for images in (1, 9, 9)]
    check([*engines, OnnxEngine(graph)], run, card)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_making_graphs_sends_nothing_and_says_nothing(kept_run, tmp_path):
    shutil.rmtree(kept_run[0].graphs)
    found = run_alone(LOADED.format(path=str(kept_run[0].path)), tmp_path / "home")
    assert found == ["None", "torch", "onnx"]


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
