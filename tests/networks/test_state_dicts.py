"""Files of weights: where the network is in them, and what is no weights."""

import os
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from cxrtool.core.errors import WeightsError
from cxrtool.networks.architectures import build_network
from cxrtool.networks.state_dicts import read_tensors
from tests.support.weights import body_equal, load, placed


def test_a_dictionary_that_holds_itself_is_read_once(tmp_path, resnet18):
    holder = {"model": resnet18.state_dict()}
    holder["again"] = holder["and again"] = holder
    torch.save(holder, tmp_path / "w.pt")
    made = build_network("resnet18", 3)
    assert load(made, tmp_path / "w.pt").detail.startswith("100 of 102 tensors of `model`")


@pytest.mark.parametrize(
    ("prefix", "wrapper", "name"),
    [
        ("", "state_dict", "state_dict"),
        ("", "model_state_dict", "model_state_dict"),
        ("", "net", "net"),
        ("module.", None, "module"),
        ("model.", None, "model"),
        ("module._orig_mod.", "model", "model.module._orig_mod"),
        ("backbone.", None, "backbone"),
        ("module.encoder_q.", "state_dict", "state_dict.module.encoder_q"),
    ],
)
def test_the_network_is_found_under_any_prefix_and_named(tmp_path, resnet18, prefix, wrapper, name):
    torch.save(placed(resnet18.state_dict(), prefix, wrapper), tmp_path / "w.pth")
    network = build_network("resnet18", 3)
    loaded = load(network, tmp_path / "w.pth")
    assert body_equal(network, resnet18.state_dict())
    assert loaded.detail.startswith(f"100 of 102 tensors of `{name}`; the last layer is new")


RAW, MEAN = "raw", "mean"


@pytest.mark.parametrize(
    ("places", "name"),
    [
        ({"model.": RAW, "ema.": MEAN}, "ema"),
        ({"student.backbone.": RAW, "teacher.backbone.": MEAN}, "teacher.backbone"),
        ({"state_dict.": RAW, "state_dict_ema.": MEAN}, "state_dict_ema"),
        ({"net.": RAW, "averaged.module.": MEAN}, "averaged.module"),
        ({"a.": RAW, "b.module.": MEAN, "b.n_averaged": None}, "b.module"),
        ({"module.encoder_q.": MEAN, "module.encoder_k.": RAW}, "module.encoder_q"),
    ],
)
def test_averaged_weights_come_before_raw_ones_and_slow_copies_last(
    tmp_path, resnet18, places, name
):
    mean = resnet18.state_dict()
    raw = {key: value + 1 for key, value in mean.items()}
    content = {}
    for prefix, which in places.items():
        if which is None:
            content[prefix] = torch.tensor(4)
        else:
            content |= placed(raw if which == RAW else mean, prefix)
    torch.save(content, tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    loaded = load(network, tmp_path / "w.pt")
    assert body_equal(network, mean)
    averaged = ", averaged weights" if "encoder" not in name else ""
    assert f" of `{name}`{averaged};" in loaded.detail
    assert "; left out: " in loaded.detail


def test_networks_that_fit_equally_are_asked_about_unless_they_are_one(tmp_path, resnet18):
    state = resnet18.state_dict()
    other = {key: value + 1 for key, value in state.items()}
    torch.save(placed(state, "a.") | placed(other, "b."), tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=r"contains 2 networks that fit.*`a`, `b`"):
        load(network, tmp_path / "w.pt")
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    torch.save(placed(state, "a.") | placed(state, "b."), tmp_path / "w.pt")
    load(network, tmp_path / "w.pt")
    assert body_equal(network, state)


def test_what_lies_beside_the_network_is_left_out_and_counted(tmp_path, resnet18):
    state = resnet18.state_dict()
    beside = {"criterion.pos_weight": torch.ones(5), "op_threshs": torch.zeros(18)}
    torch.save({**state, **beside}, tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    loaded = load(network, tmp_path / "w.pt")
    assert body_equal(network, state)
    assert "left out: 2 other tensors (criterion.pos_weight, op_threshs)" in loaded.detail


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_and_named(tmp_path, resnet18, value):
    state = {key: tensor.clone() for key, tensor in resnet18.state_dict().items()}
    state["layer2.0.bn1.running_var"][:2] = value
    torch.save(placed(state, "backbone."), tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    told = r"\(`backbone`\) has weights that are NaN or inf.*layer2.0.bn1.running_var: 2 values"
    with pytest.raises(WeightsError, match=told):
        load(network, tmp_path / "w.pt")
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    # The last layer is not taken, and what is wrong with it does no harm.
    state = {**resnet18.state_dict(), "fc.bias": torch.full((1000,), value)}
    torch.save(state, tmp_path / "w.pt")
    load(network, tmp_path / "w.pt")


def test_the_old_names_and_missing_counters_of_densenet_files_are_understood(tmp_path):
    state = models.densenet121(weights=None).state_dict()
    number = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
    old = {
        number.sub(r"\1.\2", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert any(".norm.1." in key for key in old)
    torch.save(old, tmp_path / "old.pth")
    network = build_network("densenet121", 3)
    load(network, tmp_path / "old.pth", arch="densenet121")
    key = "features.denseblock1.denselayer1.conv2.weight"
    assert torch.equal(network.state_dict()[key], state[key])


class Evil:
    """What a pickle could carry: a call that leaves a file behind."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def evil_pickles(trace):
    yield Evil(open, str(trace), "w")
    yield Evil(exec, f"open({str(trace)!r}, 'w')")
    yield Evil(os.system, f"echo > {trace}")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path, form, number):
    trace, path = tmp_path / "was-here", tmp_path / "evil.pth"
    content = {"fc.weight": list(evil_pickles(trace))[number]}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(
        WeightsError, match=r"evil.pth is refused: it contains code .*none of it was run"
    ):
        read_tensors(path)
    assert not trace.exists()
    # The test means something only if the file does run when it is read without care.
    torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()


def test_a_pickle_that_torch_does_not_know_is_not_run_either(tmp_path):
    trace, path = tmp_path / "was-here", tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"a": Evil(open, str(trace), "w")}, protocol=4))
    with pytest.raises(WeightsError, match=r"evil.pt is refused: .*open.*none of it was run"):
        read_tensors(path)
    path.write_bytes(pickle.dumps({"a": torch.zeros(2)}, protocol=4))
    with pytest.raises(WeightsError, match=r"evil.pt is damaged, or .*nothing of it was run"):
        read_tensors(path)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused_as_code(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"it contains code \(TorchScript\)"):
        read_tensors(tmp_path / "w.pt")


def test_a_whole_pickled_network_gives_its_tensors(tmp_path, resnet18):
    torch.save({"model": resnet18}, tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    loaded = load(network, tmp_path / "w.pt")
    assert body_equal(network, resnet18.state_dict())
    assert loaded.detail.startswith("100 of 102 tensors of `model`")


def test_a_pickled_object_without_tensors_is_named_by_its_class(tmp_path):
    torch.save({"net": nn.ReLU()}, tmp_path / "w.pt")
    told = r"expected names to tensors, found net: torch.nn.modules.activation.ReLU"
    with pytest.raises(WeightsError, match=told):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_named(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    state = {"a": torch.zeros(1000)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    cut = [whole[: len(whole) * part // 10] for part in range(1, 10)]
    for content in (*cut, b"nothing like weights", b"\x80\x04\x95", b"PK\x03\x04", b"x"):
        path.write_bytes(content)
        with pytest.raises(WeightsError) as told:
            read_tensors(path)
        assert str(told.value).startswith(f"{path} is damaged, or not what its suffix says (")
        # torch's own text begins with the advice to run what is in the file.
        assert not re.search("weights.only", str(told.value), re.IGNORECASE)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_empty_or_missing_file_is_named(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    with pytest.raises(WeightsError, match=r"no such file"):
        read_tensors(path)
    path.touch()
    with pytest.raises(WeightsError, match=r"is empty"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "found nothing"),
        ({"state_dict": {}}, "found state_dict: dict"),
        ([torch.zeros(2)], "found list"),
        (torch.zeros(2), "found Tensor"),
        ({"epoch": 3, "net": {"a": 1}}, "found epoch: int, net: dict"),
        ({"a": torch.zeros(2).to_sparse()}, "sparse or without data: a"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path, content, found):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=found):
        read_tensors(tmp_path / "w.pt")


def test_half_precision_files_become_fp32(tmp_path, resnet18):
    half = {k: v.half() if v.is_floating_point() else v for k, v in resnet18.state_dict().items()}
    save_file(half, tmp_path / "w.safetensors")
    network = build_network("resnet18", 3)
    load(network, tmp_path / "w.safetensors")
    assert network.conv1.weight.dtype == torch.float32
    assert torch.equal(network.conv1.weight, half["conv1.weight"].float())
    assert isinstance(network.fc, nn.Linear)
