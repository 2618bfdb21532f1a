"""Which engine scores, and what a wrong choice is told."""

import shutil

import pytest
import torch

from cxrtool.core.errors import UsageError
from cxrtool.inference.engines import choose as choose
from cxrtool.inference.engines import openvino_engine as openvino_engine
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.engines.choose import choose_engine, load_engine
from tests.support.engines import (
    ENGINES,
    GRAPHS,
    LOADED,
    Noting,
    load,
    run_alone,
    skip_without_extras,
)

skip_without_extras()


def test_with_kept_graphs_no_torch_is_imported_and_nothing_is_sent(kept_once, tmp_path):
    found = run_alone(LOADED.format(path=str(kept_once[0].path)), tmp_path / "home")
    assert found == ["None"]


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
