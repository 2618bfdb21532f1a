import re
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from cxrtool import networks
from cxrtool.config import ARCHS
from cxrtool.errors import UsageError, WeightsError
from cxrtool.networks import blocks_of, build_network, load_pretrained, normalise, score_batch


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return models.resnet18(weights=None)


@pytest.mark.parametrize("arch", ARCHS)
def test_each_architecture_is_torchvisions_with_another_head(arch):
    with torch.device("meta"):
        ours, theirs = build_network(arch, 14), models.get_model(arch, weights=None)
    head = re.compile(r"^(fc|classifier)\.")
    body = {k: v.shape for k, v in theirs.state_dict().items() if not head.match(k)}
    own = {k: v.shape for k, v in ours.state_dict().items() if not head.match(k)}
    assert own == body
    assert [v.shape[0] for k, v in ours.state_dict().items() if head.match(k)] == [14, 14]


def names_of(network, parameters):
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, parameter in network.named_parameters() if id(parameter) in wanted}


@pytest.mark.parametrize(
    ("arch", "top", "head"),
    [
        ("resnet101", r"layer4\.", r"fc\."),
        ("densenet121", r"features\.(denseblock4|norm5)\.", r"classifier\."),
    ],
)
def test_blocks_are_the_reports(arch, top, head):
    network = build_network(arch, 14)
    names = [names_of(network, group) for group in blocks_of(network).groups()]
    everything = {name for name, _ in network.named_parameters()}
    assert names[1] == {name for name in everything if re.match(top, name)}
    assert names[2] == {name for name in everything if re.match(head, name)}
    assert names[0] == everything - names[1] - names[2]


@pytest.mark.parametrize("arch", ARCHS)
def test_blocks_part_every_parameter_once(arch):
    with torch.device("meta"):
        network = build_network(arch, 3)
    groups = blocks_of(network).groups()
    ids = [id(parameter) for group in groups for parameter in group]
    assert sorted(ids) == sorted(id(parameter) for parameter in network.parameters())
    assert all(groups)


def test_an_unknown_architecture_gets_near_names():
    with pytest.raises(UsageError, match="did you mean densenet121"):
        build_network("densnet121", 14)


def test_drop_rate_is_densenets():
    network = build_network("densenet121", 2, drop_rate=0.3)
    assert {m.drop_rate for m in network.modules() if hasattr(m, "drop_rate")} == {0.3}
    with pytest.raises(UsageError, match="no drop rate"):
        build_network("resnet18", 2, drop_rate=0.3)


def test_the_head_computes_in_fp32_under_autocast():
    network = build_network("resnet18", 500).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        logits = network(torch.randn(2, 3, 32, 32))
    assert logits.dtype == torch.float32
    rounded = logits.to(torch.bfloat16).float()
    assert (logits != rounded).float().mean() > 0.9


def test_scores_do_not_depend_on_the_batch(resnet18):
    network = build_network("resnet18", 14).eval()
    pixels = torch.randint(0, 256, (5, 64, 64), dtype=torch.uint8)
    options = {"mean": 0.5, "std": 0.25, "device": torch.device("cpu"), "precision": "fp32"}
    together = score_batch(network, pixels, **options)
    alone = score_batch(network, pixels[2:3], **options)
    assert together.shape == (5, 14)
    assert abs(together[2] - alone[0]).max() < 1e-5


def test_normalise_gives_three_equal_channels():
    x = normalise(torch.full((1, 1, 2, 2), 0.75), mean=0.5, std=0.25)
    assert x.shape == (1, 3, 2, 2)
    assert (x == 1).all()


def body_equal(network, state):
    own = network.state_dict()
    return all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith("fc."))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file(tmp_path, resnet18, suffix):
    path, state = tmp_path / f"w{suffix}", resnet18.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = build_network("resnet18", 14)
    before = network.fc.weight.clone()
    load_pretrained(network, "resnet18", str(path))
    assert body_equal(network, state)
    assert torch.equal(network.fc.weight, before)


def test_imagenet_weights_come_from_torchvisions_cache(tmp_path, monkeypatch, resnet18):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    url = models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(resnet18.state_dict(), tmp_path / "checkpoints" / url.rpartition("/")[2])
    network = build_network("resnet18", 14)
    assert "IMAGENET1K_V1" in load_pretrained(network, "resnet18", "imagenet")
    assert body_equal(network, resnet18.state_dict())


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
    network = build_network("densenet121", 14)
    load_pretrained(network, "densenet121", str(tmp_path / "old.pth"))
    key = "features.denseblock1.denselayer1.conv2.weight"
    assert torch.equal(network.state_dict()[key], state[key])


def test_without_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(WeightsError) as told:
        load_pretrained(build_network("resnet101", 14), "resnet101", "imagenet")
    text = str(told.value)
    for part in (
        "Name or service not known",
        models.ResNet101_Weights.IMAGENET1K_V1.url,
        str(tmp_path / "checkpoints"),
        "--weights FILE",
        "--weights none",
    ):
        assert part in text


def test_weights_of_another_network_are_refused(tmp_path, resnet18):
    torch.save(resnet18.state_dict(), tmp_path / "w.pth")
    network = build_network("resnet34", 14)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match="do not fit resnet34"):
        load_pretrained(network, "resnet34", str(tmp_path / "w.pth"))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


class Evil:
    """What a pickle could carry."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a weights file was run')",))


def test_code_in_a_weights_file_is_not_run(tmp_path):
    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="not a readable state dict"):
        networks.read_state(tmp_path / "evil.pth")


@pytest.mark.parametrize("content", [b"", b"nothing like weights"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_weights_file_is_named(tmp_path, content, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="w\\" + suffix):
        networks.read_state(path)


def test_a_missing_weights_file_is_named():
    with pytest.raises(WeightsError, match="no such file"):
        load_pretrained(build_network("resnet18", 2), "resnet18", "nowhere.pth")


def test_the_head_is_a_plain_linear_layer_in_the_file():
    network = build_network("resnet18", 14)
    assert isinstance(network.fc, nn.Linear)
    assert set(network.fc.state_dict()) == {"weight", "bias"}
