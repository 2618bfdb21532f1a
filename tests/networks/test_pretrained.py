import re
import socket
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from cxrtool.core.config import ARCHS
from cxrtool.core.errors import RunError, UsageError, WeightsError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import write_json
from cxrtool.core.runs import RunFolder
from cxrtool.core.start_cards import start_cards
from cxrtool.networks import imagenet_files, pretrained
from cxrtool.networks.architectures import build_network, head_name, head_of
from tests.support.weights import LABELS, body_equal, load, placed


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


@pytest.mark.parametrize("head", ["fc.0", "fc.1.2", None])
def test_the_files_head_may_have_any_form_or_be_absent(tmp_path, resnet18, head):
    state = {k: v for k, v in resnet18.state_dict().items() if not k.startswith("fc.")}
    named = {} if head is None else {f"{head}.weight": torch.zeros(4, 5)}
    torch.save({**state, **named}, tmp_path / "w.pt")
    loaded = load(build_network("resnet18", 3), tmp_path / "w.pt")
    assert "left out" not in loaded.detail


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


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """A machine on which nobody has downloaded anything; its models folder."""
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("CXRTOOL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(socket, "socket", no_network)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def no_network(*given, **named):
    raise AssertionError("training asks the network for nothing")


@pytest.mark.parametrize("place", ["TORCH_HOME/hub/checkpoints", "models"])
def test_imagenet_weights_come_from_torchs_cache_or_the_models_folder(
    tmp_path, monkeypatch, nothing_here, resnet18, place
):
    name = models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    torch.save(resnet18.state_dict(), tmp_path / place / name)
    with pytest.raises(WeightsError, match=r"not the published file .*f37072fd"):
        load(build_network("resnet18", 3), "imagenet")
    monkeypatch.setattr(imagenet_files, "sha256", lambda path: "f37072fd" + "0" * 56)
    network = build_network("resnet18", 3)
    loaded = load(network, "imagenet")
    assert loaded.source == "ImageNet weights of resnet18 (IMAGENET1K_V1)"
    assert loaded.detail == "100 of 102 tensors; the last layer is new"
    assert body_equal(network, resnet18.state_dict())


def test_what_is_not_here_is_not_downloaded_and_the_message_says_what_to_do(nothing_here):
    with pytest.raises(WeightsError) as told:
        load(build_network("resnet101", 3), "imagenet", arch="resnet101")
    url = models.ResNet101_Weights.IMAGENET1K_V1.url
    for part in (
        "training downloads nothing",
        "cxrtool models fetch resnet101",
        url,
        str(nothing_here / url.rpartition("/")[2]),
        "--weights FILE",
        "--weights none",
    ):
        assert part in str(told.value)


def test_a_start_is_read_by_its_card(nothing_here, resnet18):
    card = start_cards()["xrv:resnet50-res512-all"]
    theirs = models.resnet50(weights=None)
    state = {f"model.{key}": one for key, one in theirs.state_dict().items()}
    state["model.conv1.weight"] = torch.randn(64, 1, 7, 7)
    torch.save(state, nothing_here / card.file)
    network = build_network("resnet50", 3)
    loaded = load(network, card.name, arch="resnet50")
    assert loaded.recorded == card.name
    assert loaded.source == f"{card.name}: {card.file} (SHA-256 {sha256(nothing_here / card.file)})"
    assert "one channel was spread over three" in loaded.detail
    assert torch.equal(network.layer4[2].conv3.weight, theirs.layer4[2].conv3.weight)
    with pytest.raises(WeightsError, match=r"do not fit resnet18: .*\n.*pass --arch resnet50"):
        load(build_network("resnet18", 3), card.name)


def test_a_pickled_network_of_torchxrayvision_is_a_start(nothing_here):
    card = start_cards()["xrv:densenet121-res224-chex"]
    theirs = models.densenet121(weights=None, num_classes=18)
    theirs.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    theirs.pathologies = list(card.labels)
    torch.save(theirs, nothing_here / card.file)
    network = build_network("densenet121", 3)
    loaded = load(network, "xrv:chex", arch="densenet121")
    assert loaded.recorded == card.name
    theirs.classifier = nn.Identity()
    network.classifier = nn.Identity()
    grey = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected, found = theirs.eval()(grey), network.eval()(grey.expand(-1, 3, -1, -1))
    assert torch.allclose(found, expected, atol=1e-5)


def test_jfhealthcares_body_is_found_and_its_heads_are_left_out(nothing_here):
    card = start_cards()["jfhealthcare-densenet121"]
    theirs = models.densenet121(weights=None)
    state = {f"backbone.{key}": one for key, one in theirs.state_dict().items()}
    heads = {f"fc_{n}.{part}": torch.zeros(1, 2048, 1, 1) for n in range(5) for part in "wb"}
    torch.save(state | heads, nothing_here / card.file)
    network = build_network("densenet121", 3)
    loaded = load(network, card.name, arch="densenet121")
    assert "left out: 10 other tensors (fc_0.w" in loaded.detail
    grey = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = theirs.features.eval()(grey), network.features.eval()(grey)
    assert torch.equal(found, expected)


def test_a_checkpoints_other_networks_are_not_taken_for_the_start(nothing_here, resnet18):
    card = replace(start_cards()["ark-plus"], arch="resnet18", key="teacher", adapter="none")
    raw = {key: one + 1 for key, one in resnet18.state_dict().items()}
    content = {"state_dict": raw, "teacher": resnet18.state_dict()}
    assert pretrained.find_start(card.name)
    torch.save(content, nothing_here / card.file)
    network = build_network("resnet18", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "find_start", lambda name: card)
        load(network, card.name)
    assert body_equal(network, resnet18.state_dict())


def test_a_file_on_the_hub_is_read_from_its_cache(tmp_path, nothing_here, resnet18):
    folder = tmp_path / "HF_HUB_CACHE" / "models--me--nets"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(resnet18.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    network = build_network("resnet18", 3)
    assert load(network, "hf:me/nets").recorded == "hf:me/nets"
    assert body_equal(network, resnet18.state_dict())
    with pytest.raises(WeightsError, match=r"cxrtool models fetch hf:me/nets:other.pt"):
        load(network, "hf:me/nets:other.pt")
    with pytest.raises(UsageError, match="expected hf:OWNER/REPOSITORY"):
        load(network, "hf:nets")


def test_a_file_under_foreign_names_is_read_whatever_it_is_called(tmp_path):
    theirs = build_network("timm/eva_x_tiny_patch16", 2, image_size=32)
    names = {"mlp.fc1.": "mlp.w12.", "mlp.fc2.": "mlp.w3.", "fc_norm.": "norm."}
    state = {"mask_token": torch.zeros(1, 1, 192)}
    for key, value in theirs.state_dict().items():
        for ours, foreign in names.items():
            key = key.replace(ours, foreign)
        state[key] = value
    torch.save({"module": state, "loss": np.float64(0.5)}, tmp_path / "x.pt")
    network = build_network("timm/eva_x_tiny_patch16", 3, image_size=64)
    loaded = load(network, tmp_path / "x.pt", arch="timm/eva_x_tiny_patch16")
    assert "names read as eva-x has them" in loaded.detail
    assert "the grid of positions was resampled from 2 x 2 to 4 x 4" in loaded.detail
    assert "left out: 1 other tensors (mask_token)" in loaded.detail.replace("module.", "")
    assert torch.equal(network.blocks[11].mlp.fc1.weight, theirs.blocks[11].mlp.fc1.weight)
    assert torch.equal(network.fc_norm.weight, theirs.fc_norm.weight)
    without = {key: one for key, one in state.items() if not key.startswith("blocks.3.mlp.w12")}
    torch.save(without, tmp_path / "less.pt")
    with pytest.raises(WeightsError, match=r"2 of 162 are missing \(blocks.3.mlp.fc1.weight"):
        load(network, tmp_path / "less.pt", arch="timm/eva_x_tiny_patch16")


def test_imagenet_of_a_timm_network_is_timms_file(nothing_here):
    theirs = timm.create_model("test_vit", num_classes=1000)
    for tensor in theirs.parameters():
        nn.init.normal_(tensor)
    with pytest.raises(WeightsError, match=r"models fetch timm/test_vit.r160_in1k"):
        load(build_network("timm/test_vit", 3), "imagenet", arch="timm/test_vit")
    save_file(theirs.state_dict(), nothing_here / "timm-test_vit.r160_in1k.safetensors")
    network = build_network("timm/test_vit", 3, image_size=64)
    loaded = load(network, "imagenet", arch="timm/test_vit")
    assert "resampled from 10 x 10 to 4 x 4" in loaded.detail
    own = network.state_dict()
    for key, value in theirs.state_dict().items():
        if key != "pos_embed" and not key.startswith("head."):
            assert torch.equal(own[key], value), key
    (nothing_here / "timm-test_vit.r160_in1k.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"cannot be loaded as timm's weights of timm/test_vit"):
        load(network, "imagenet", arch="timm/test_vit")
    with pytest.raises(WeightsError, match="timm has no weights of timm/eva_x_tiny_patch16"):
        load(network, "imagenet", arch="timm/eva_x_tiny_patch16")


def test_near_names_of_starts_are_told(tmp_path):
    with pytest.raises(WeightsError, match=r"a start's name.*rad-dino"):
        load(build_network("resnet18", 3), "rad-dine", runs=tmp_path)
    with pytest.raises(WeightsError, match=r"--weights xrv:nowhere.pt: no such file"):
        load(build_network("resnet18", 3), "xrv:nowhere.pt", runs=tmp_path)


def test_what_fits_is_loaded_where_that_is_asked_for_and_the_rest_is_told(tmp_path, resnet18):
    state = dict(resnet18.state_dict())
    del state["layer4.1.conv2.weight"]
    state["conv1.weight"] = torch.zeros(64, 2, 7, 7)
    state["layer4.9.strange"] = torch.zeros(3)
    torch.save(placed(state, "model."), tmp_path / "w.pt")
    network = build_network("resnet18", 3)
    before = {key: one.clone() for key, one in network.state_dict().items()}
    with pytest.raises(WeightsError, match="do not fit resnet18"):
        load(network, tmp_path / "w.pt")
    loaded = load(network, tmp_path / "w.pt", allow_missing=True)
    assert loaded.detail.startswith(
        "98 of 100 tensors, since --allow-missing was given: 1 of 100 are missing "
        "(layer4.1.conv2.weight); "
    )
    assert "layer4.9.strange" in loaded.detail
    assert "conv1.weight: (64, 2, 7, 7), not (64, 3, 7, 7)" in loaded.detail
    own = network.state_dict()
    assert torch.equal(own["layer4.1.conv1.weight"], state["layer4.1.conv1.weight"])
    for key in ("conv1.weight", "layer4.1.conv2.weight", "fc.weight"):
        assert torch.equal(own[key], before[key])
    torch.save({"conv1.weight": state["conv1.weight"]}, tmp_path / "little.pt")
    with pytest.raises(WeightsError, match="do not fit resnet18"):
        load(network, tmp_path / "little.pt", allow_missing=True)


def test_none_changes_nothing():
    network = build_network("resnet18", 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    loaded = load(network, "none")
    assert loaded.source == "random weights"
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


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
