import os
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from cxrtool.core.config import ARCHS
from cxrtool.core.errors import RunError, WeightsError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import write_json
from cxrtool.core.runs import RunFolder
from cxrtool.networks.architectures import build_network, head_name, head_of
from cxrtool.networks.pretrained import load_pretrained
from cxrtool.networks.state_dicts import read_tensors

LABELS = ("Edema", "Nodule", "Mass")


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return models.resnet18(weights=None)


def load(network, weights, *, arch="resnet18", labels=LABELS, runs="nowhere"):
    return load_pretrained(network, arch, str(weights), labels, Path(runs))


def body_equal(network, state, head="fc."):
    own = network.state_dict()
    return all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith(head))


def write_run(folder, arch, labels, *, finished=True):
    """A finished run's folder, without the training: its network has random weights."""
    run, network = RunFolder(folder), build_network(arch, len(labels))
    write_json(run.labels, {"labels": labels, "uncertainty": "ones", "blank": "zeros"})
    write_json(run.thresholds, {"thresholds": dict.fromkeys(labels, 0.5)})
    write_json(run.patients, {"train": ["a"], "valid": ["b"]})
    save_file(network.state_dict(), run.weights)
    model = {"arch": arch, "drop_rate": 0.0, "image_size": 32, "squish": [32], "fold": None}
    model |= {
        "pixel_mean": 0.5,
        "pixel_std": 0.25,
        "manifest_sha256": "0" * 64,
        "split_sha256": "0" * 64,
    }
    sums = {path.name: sha256(path) for path in (run.weights, run.labels, run.patients)}
    if finished:
        write_json(run.model, {**model, "sha256": sums})
    return network


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_a_file_gives_the_body_and_not_the_head(tmp_path, resnet18, suffix):
    path, state = tmp_path / f"w{suffix}", resnet18.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = build_network("resnet18", 3)
    before = network.fc.weight.clone()
    loaded = load(network, path)
    assert body_equal(network, state)
    assert torch.equal(network.fc.weight, before)
    assert loaded.source == f"{path.name} (SHA-256 {sha256(path)})"
    assert loaded.detail == (
        "100 of 102 tensors; the last layer is new: a file does not name its labels"
    )


def test_a_run_comes_before_a_file_of_its_name(tmp_path, resnet18, monkeypatch):
    network = write_run(tmp_path / "runs" / "base", "resnet18", ["Edema"])
    torch.save(resnet18.state_dict(), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    made = build_network("resnet18", 3)
    assert load(made, "base", runs="runs").source == "run base"
    assert body_equal(made, network.state_dict())
    assert load(made, "./base", runs="runs").source.startswith("base (SHA-256")
    assert body_equal(made, resnet18.state_dict())


def test_a_dictionary_that_holds_itself_is_read_once(tmp_path, resnet18):
    holder = {"model": resnet18.state_dict()}
    holder["again"] = holder["and again"] = holder
    torch.save(holder, tmp_path / "w.pt")
    made = build_network("resnet18", 3)
    assert load(made, tmp_path / "w.pt").detail.startswith("100 of 102 tensors of `model`")


@pytest.mark.parametrize("head", ["fc.0", "fc.1.2", None])
def test_the_files_head_may_have_any_form_or_be_absent(tmp_path, resnet18, head):
    state = {k: v for k, v in resnet18.state_dict().items() if not k.startswith("fc.")}
    named = {} if head is None else {f"{head}.weight": torch.zeros(4, 5)}
    torch.save({**state, **named}, tmp_path / "w.pt")
    loaded = load(build_network("resnet18", 3), tmp_path / "w.pt")
    assert "left out" not in loaded.detail


def placed(state, prefix, wrapper=None):
    """A file's content with the network's tensors under a prefix, or in a dictionary of it."""
    named = {f"{prefix}{key}": value for key, value in state.items()}
    return {wrapper: named, "epoch": 3, "optimizer": {"lr": [0.1]}} if wrapper else named


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


def test_one_channel_is_spread_over_three_and_gives_the_same(tmp_path, resnet18):
    state = dict(resnet18.state_dict())
    state["conv1.weight"] = torch.randn(64, 1, 7, 7)
    torch.save(state, tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    loaded = load(network, tmp_path / "w.pt")
    assert "the first layer's one channel was spread over three" in loaded.detail
    grey = torch.randn(2, 1, 16, 16)
    expected = nn.functional.conv2d(grey, state["conv1.weight"], stride=2, padding=3)
    found = network.conv1(grey.expand(-1, 3, -1, -1))
    assert torch.allclose(found, expected, atol=1e-4)


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


def test_a_larger_network_of_the_same_kind_is_not_cut_to_fit(tmp_path):
    with torch.device("meta"):
        names = models.resnet34(weights=None).state_dict()
    state = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in names.items()}
    torch.save(placed(state, "backbone."), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"`backbone`.*do not fit resnet18") as told:
        load(build_network("resnet18", 3), tmp_path / "w.pt")
    assert "They fit resnet34: pass --arch resnet34" in str(told.value)


@pytest.mark.parametrize(
    "arch", ["densenet121", "convnext_tiny", "efficientnet_b0", "swin_t", "swin_v2_t"]
)
def test_torchvisions_file_fits_each_family(tmp_path, arch):
    theirs, network = models.get_model(arch, weights=None), build_network(arch, 3)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    head = head_name(network) + "."
    before = head_of(network).weight.clone()
    loaded = load(network, tmp_path / "w.safetensors", arch=arch)
    assert body_equal(network, theirs.state_dict(), head)
    assert torch.equal(head_of(network).weight, before)
    taken, of = map(int, re.findall(r"\d+", loaded.detail))
    assert of == taken + 2
    assert of == sum(not key.endswith("num_batches_tracked") for key in theirs.state_dict())


@pytest.mark.parametrize("arch", ARCHS)
def test_each_architecture_has_imagenet_weights(arch):
    assert models.get_model_weights(arch)["IMAGENET1K_V1"].url.startswith("https://")


def test_imagenet_weights_come_from_torchvisions_cache(tmp_path, monkeypatch, resnet18):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    url = models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(resnet18.state_dict(), tmp_path / "checkpoints" / url.rpartition("/")[2])
    network = build_network("resnet18", 3)
    loaded = load(network, "imagenet")
    assert loaded.source == "ImageNet weights of resnet18 (IMAGENET1K_V1)"
    assert loaded.detail == "100 of 102 tensors; the last layer is new"
    assert body_equal(network, resnet18.state_dict())


def test_without_network_the_message_says_what_to_do(tmp_path, monkeypatch, capsys):
    def no_network(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(WeightsError) as told:
        load(build_network("resnet101", 3), "imagenet", arch="resnet101")
    assert capsys.readouterr().out == "", "stdout is for results"
    text = str(told.value)
    for part in (
        "Name or service not known",
        models.ResNet101_Weights.IMAGENET1K_V1.url,
        str(tmp_path / "checkpoints"),
        "--weights FILE",
        "--weights none",
    ):
        assert part in text


def test_none_changes_nothing():
    network = build_network("resnet18", 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    loaded = load(network, "none")
    assert loaded.source == "random weights"
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


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


@pytest.mark.parametrize("theirs", ["resnet18", "densenet169", "convnext_small", "swin_v2_t"])
def test_weights_of_another_network_are_refused_and_named(tmp_path, theirs):
    # Values do not matter here, and zeros are made faster.
    with torch.device("meta"):
        state = models.get_model(theirs, weights=None).state_dict()
    torch.save(
        {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in state.items()}, tmp_path / "w.pt"
    )
    network = build_network("resnet34", 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match="do not fit resnet34") as told:
        load(network, tmp_path / "w.pt", arch="resnet34")
    assert f"--arch {theirs}" in str(told.value)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_what_does_not_fit_is_counted_and_named(tmp_path, resnet18):
    state = resnet18.state_dict()
    state["conv1.weight"] = torch.zeros(64, 2, 7, 7)
    state["op_threshs"] = torch.zeros(18)
    for key in ("layer1.0.conv1.weight", "layer1.0.conv2.weight", "bn1.bias", "bn1.weight"):
        del state[key]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as told:
        load(build_network("resnet18", 3), tmp_path / "w.pt")
    assert str(told.value).splitlines() == [
        f"the tensors of {tmp_path / 'w.pt'} do not fit resnet18: 4 of 100 are missing "
        "(bn1.weight, bn1.bias, layer1.0.conv1.weight, ... (4 in all)); 1 of the 117 given are "
        "unknown (op_threshs); 1 have another shape (conv1.weight: (64, 2, 7, 7), "
        "not (64, 3, 7, 7)).",
        "  Pass the weights of a resnet18, or --weights none",
    ]


RUN_LABELS = ["Mass", "Fracture", "Edema"]


@pytest.mark.parametrize("by", ["name", "path", "last"])
def test_a_run_gives_its_body_and_the_rows_of_the_labels_that_both_have(tmp_path, by):
    theirs = write_run(tmp_path / "tiny", "resnet18", RUN_LABELS)
    network = build_network("resnet18", 3)
    before = network.fc.weight.clone()
    named = {"name": "tiny", "path": tmp_path / "tiny", "last": "last"}[by]
    loaded = load(network, named, runs=tmp_path)
    assert loaded.source == "run tiny"
    assert loaded.detail == ("all 100 tensors of the body; last layer: 2 of 3 labels, new: Nodule")
    assert body_equal(network, theirs.state_dict())
    for row, label in enumerate(LABELS):
        same = label in RUN_LABELS
        expected = theirs.fc.weight[RUN_LABELS.index(label)] if same else before[row]
        assert torch.equal(network.fc.weight[row], expected)
    assert network.fc.bias[0] == theirs.fc.bias[2]
    assert network.fc.bias[2] == theirs.fc.bias[0]
    assert network.fc.weight.requires_grad
    assert network.fc.weight.is_leaf


@pytest.mark.parametrize("arch", ["convnext_tiny", "efficientnet_b0", "swin_v2_t"])
def test_a_run_of_each_family_is_taken_whole(tmp_path, arch):
    theirs = write_run(tmp_path / "runs" / "r", arch, list(LABELS))
    network = build_network(arch, 3)
    loaded = load(network, "r", arch=arch, runs=tmp_path / "runs")
    assert loaded.detail.endswith("tensors of the body; last layer: all 3 labels")
    assert body_equal(network, theirs.state_dict(), head="nothing is left out")


def test_a_run_elsewhere_is_named_by_its_path_and_may_share_no_label(tmp_path):
    write_run(tmp_path / "other" / "tiny", "resnet18", ["Hernia"])
    loaded = load(build_network("resnet18", 3), tmp_path / "other" / "tiny", runs=tmp_path / "runs")
    weights = sha256(tmp_path / "other" / "tiny" / "model.safetensors")
    assert loaded.source == f"run tiny (SHA-256 {weights})"
    assert loaded.detail.endswith("the last layer is new: the run has none of its labels")


def test_a_run_of_another_architecture_is_refused(tmp_path):
    write_run(tmp_path / "tiny", "resnet34", RUN_LABELS)
    with pytest.raises(WeightsError, match="run tiny is a resnet34, and --arch is resnet18"):
        load(build_network("resnet18", 3), "tiny", runs=tmp_path)


def test_a_run_that_is_unfinished_or_altered_is_refused(tmp_path):
    write_run(tmp_path / "half", "resnet18", RUN_LABELS, finished=False)
    with pytest.raises(RunError, match="half is not a finished run"):
        load(build_network("resnet18", 3), "half", runs=tmp_path)
    write_run(tmp_path / "tiny", "resnet18", RUN_LABELS)
    weights = tmp_path / "tiny" / "model.safetensors"
    state = load_file(weights)
    save_file({**state, "fc.bias": state["fc.bias"] + 1}, weights)
    with pytest.raises(RunError, match="not the file that training wrote"):
        load(build_network("resnet18", 3), "tiny", runs=tmp_path)


def test_what_is_neither_a_file_nor_a_run_is_named(tmp_path):
    network = build_network("resnet18", 3)
    with pytest.raises(WeightsError, match=r"--weights nowhere.pth: no such file \(nor is it `im"):
        load(network, "nowhere.pth", runs=tmp_path)
    write_run(tmp_path / "tiny", "resnet18", RUN_LABELS)
    with pytest.raises(WeightsError, match=r"no run 'tinny' in .*there are: tiny"):
        load(network, "tinny", runs=tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        load(network, "", runs=tmp_path)


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
    with pytest.raises(WeightsError, match=r"evil.pt is damaged, or .*nothing of it was run"):
        read_tensors(path)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused_as_code(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"it contains code or objects \(TorchScript\)"):
        read_tensors(tmp_path / "w.pt")


def test_a_whole_network_is_refused_as_code(tmp_path, resnet18):
    torch.save({"model": resnet18}, tmp_path / "w.pt")
    with pytest.raises(
        WeightsError, match=r"torchvision.models.resnet.ResNet.*Save only the tensors"
    ):
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
