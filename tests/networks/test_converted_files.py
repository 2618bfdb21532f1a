import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cxrtool.core.errors import WeightsError
from cxrtool.core.files import sha256
from cxrtool.networks.converted_files import convert, provenance


def test_a_pickled_networks_tensors_are_kept_with_where_they_are_from(tmp_path):
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    network.pathologies = ["Edema", "", "Mass"]
    torch.save(network, tmp_path / "net.pt")
    target = tmp_path / "net.safetensors"
    count = convert(tmp_path / "net.pt", target, {"from": "https://example.org"})
    found = load_file(target)
    assert count == len(found) == len(network.state_dict())
    assert all(torch.equal(found[key], one) for key, one in network.state_dict().items())
    said = provenance(target)
    assert said["from"] == "https://example.org"
    assert said["sha256"] == sha256(tmp_path / "net.pt")
    assert json.loads(said["labels"]) == ["Edema", "", "Mass"]
    assert provenance(tmp_path / "net.pt") == {}


def test_of_a_checkpoint_the_network_alone_is_kept(tmp_path):
    weight = torch.randn(4)
    content = {"teacher": {"a": weight, "b": weight[:2]}, "optimizer": {"m": torch.zeros(9)}}
    torch.save(content, tmp_path / "w.pth.tar")
    convert(tmp_path / "w.pth.tar", tmp_path / "w.safetensors", {}, key="teacher")
    found = load_file(tmp_path / "w.safetensors")
    assert set(found) == {"teacher.a", "teacher.b"}
    assert torch.equal(found["teacher.b"], weight[:2])
    assert "labels" not in provenance(tmp_path / "w.safetensors")


def test_what_is_no_weights_leaves_nothing(tmp_path):
    (tmp_path / "page.pt").write_text("<html>log in first</html>")
    with pytest.raises(WeightsError, match="is damaged, or not what its suffix says"):
        convert(tmp_path / "page.pt", tmp_path / "w.safetensors", {})
    assert not (tmp_path / "w.safetensors").exists()
    (tmp_path / "w.safetensors").write_text("x")
    with pytest.raises(WeightsError, match="fetch it again"):
        provenance(tmp_path / "w.safetensors")
