"""`models`: what there is, what is here, and the one command that downloads."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cxrtool.core import start_cards as cards
from cxrtool.core.config import ModelsConfig
from cxrtool.core.errors import UsageError, WeightsError
from cxrtool.core.model_files import models_folder
from cxrtool.networks.converted_files import provenance
from cxrtool.workflows import models
from cxrtool.workflows.models import fetch_models, list_starts, show_start
from tests.support.calling import call
from tests.support.file_server import serving

NAME = "xrv:densenet121-res224-chex"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "TORCH_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("CXRTOOL_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def pickled(tmp_path):
    """A pickled network, as a file's bytes."""
    network = nn.Linear(3, 2)
    network.pathologies = ["Edema", "Mass"]
    torch.save(network, tmp_path / "net.pt")
    return network, (tmp_path / "net.pt").read_bytes()


@pytest.fixture
def served(pickled, monkeypatch):
    """The start's file on a server on this machine."""
    with serving(pickled[1]) as one:
        known = {**cards.start_cards()}
        known[NAME] = replace(known[NAME], url=one.url, file="net.pt")
        monkeypatch.setattr(cards, "start_cards", lambda: known)
        one.known = known
        yield one


def fetch(*names, **options):
    return fetch_models(ModelsConfig(action="fetch", names=list(names), **options))


def test_the_table_says_what_is_here(folder):
    starts = {start.name: start for start in list_starts()}
    assert set(starts) == set(cards.start_cards())
    assert all(start.here is None for start in starts.values())
    folder.mkdir()
    (folder / "Ark6_swinLarge768_ep50.pth.tar").write_bytes(b"12345")
    ark = next(start for start in list_starts() if start.name == "ark-plus")
    assert (ark.here.name, ark.bytes) == ("Ark6_swinLarge768_ep50.pth.tar", 5)


def test_a_pickle_is_fetched_and_kept_as_safetensors(folder, served, pickled):
    (got,) = fetch("xrv:chex")
    assert got.path == folder / "xrv-densenet121-res224-chex.safetensors"
    assert not got.checked
    assert got.sha256 == hashlib.sha256(pickled[1]).hexdigest()
    assert torch.equal(load_file(got.path)["weight"], pickled[0].weight)
    said = provenance(got.path)
    assert said["from"] == served.url
    assert json.loads(said["labels"]) == ["Edema", "Mass"]
    assert [path.name for path in folder.iterdir()] == [got.path.name]
    again = fetch(NAME)[0]
    assert again.was_here
    assert len(served.asked) == 1
    fetch(NAME, force=True)
    assert len(served.asked) == 2
    assert show_start(NAME).provenance["sha256"] == got.sha256


def test_a_cut_download_is_resumed_by_the_same_command(folder, served):
    served.cut_after = 500
    with pytest.raises(WeightsError, match="models fetch xrv:densenet121-res224-chex"):
        fetch(NAME)
    served.cut_after = None
    fetch(NAME)
    assert served.asked == [None, "bytes=500-"]
    assert [path.name for path in folder.iterdir()] == ["xrv-densenet121-res224-chex.safetensors"]


def test_a_file_that_is_not_the_published_one_is_not_kept(folder, served):
    right = hashlib.sha256(served.content).hexdigest()
    served.known[NAME] = replace(served.known[NAME], sha256="ab" * 32)
    with pytest.raises(WeightsError, match=r"its SHA-256 is .*Nothing of it was kept"):
        fetch(NAME)
    assert not folder.exists() or list(folder.iterdir()) == []
    served.known[NAME] = replace(served.known[NAME], sha256=right)
    assert fetch(NAME)[0].checked


def test_a_page_instead_of_weights_is_not_kept(folder, served):
    served.content = b"<html>Please log in</html>"
    with pytest.raises(WeightsError, match="is damaged, or not what its suffix says"):
        fetch(NAME)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_without_network_the_file_and_its_place_are_named(served, pickled, tmp_path, folder):
    served.status = 503
    with pytest.raises(WeightsError) as told:
        fetch(NAME)
    for part in ("answers 503", served.url, str(folder / "net.pt"), "cxrtool models fetch"):
        assert part in str(told.value)
    # As the message says.
    folder.mkdir(exist_ok=True)
    (folder / "net.pt").write_bytes(pickled[1])
    assert fetch(NAME)[0].was_here
    (folder / "net.pt").unlink()
    got = fetch(NAME, from_file=tmp_path / "net.pt")[0]
    assert got.path == folder / "xrv-densenet121-res224-chex.safetensors"
    assert (tmp_path / "net.pt").is_file()


def test_a_file_by_form_is_taken_from_the_user(tmp_path, folder):
    with pytest.raises(WeightsError, match=r"not published for download.*\n.*put Ark6"):
        fetch("ark-plus")
    content = {"teacher": {"module.norm.weight": torch.ones(2)}, "student": {"x": torch.ones(3)}}
    torch.save(content, tmp_path / "ark.tar")
    got = fetch("ark-plus", from_file=tmp_path / "ark.tar")[0]
    assert set(load_file(got.path)) == {"teacher.module.norm.weight"}


def test_from_the_hub_the_file_stays_in_its_cache(tmp_path, monkeypatch):
    cache = tmp_path / "HF_HUB_CACHE"
    asked = []

    def downloaded(repo, file, *, cache_dir, force_download):
        asked.append((repo, file))
        blob = cache / "blobs" / "new"
        blob.parent.mkdir(parents=True)
        save_file({"w": torch.ones(2)}, blob)
        named = blob.with_name(hashlib.sha256(blob.read_bytes()).hexdigest())
        blob.rename(named)
        (cache / file).symlink_to(named)
        return str(cache / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", downloaded)
    got = fetch("hf:me/nets")[0]
    assert asked == [("me/nets", "model.safetensors")]
    assert got.path == cache / "model.safetensors"
    assert got.checked
    # A file that was altered in the cache is not what its name there says.
    save_file({"w": torch.zeros(2)}, got.path.resolve())
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *given, **named: str(cache / given[1])
    )
    with pytest.raises(WeightsError, match="it was altered"):
        fetch("hf:me/nets")

    def refused(*given, **named):
        raise OSError("401 Client Error\nmore")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
    with pytest.raises(WeightsError, match=r"401 Client Error\).*hf auth login"):
        fetch("hf:me/other")


def test_imagenet_files_are_fetched_by_their_architecture(monkeypatch, served, folder):
    file = models.file_named("resnet18")
    assert file.file == "resnet18-f37072fd.pth"
    assert file.sha256 == "f37072fd"
    assert models.file_named("timm/convnext_tiny").hf == "timm/convnext_tiny.in12k_ft_in1k"
    monkeypatch.setattr(models, "file_named", lambda name: replace(file, url=served.url))
    with pytest.raises(WeightsError, match="begins with f37072fd"):
        fetch("resnet18")
    wanted = hashlib.sha256(served.content).hexdigest()[:8]
    monkeypatch.setattr(
        models, "file_named", lambda name: replace(file, url=served.url, sha256=wanted)
    )
    got = fetch("resnet18")[0]
    assert got.path == folder / "resnet18.safetensors"
    assert got.checked


def test_what_cannot_be_meant_is_refused():
    for names, options, told in (
        ([], {}, "name what to fetch"),
        (["rad-dine"], {}, r"no start 'rad-dine'.*rad-dino"),
        (["rad-dino", "ark-plus"], {"from_file": "x"}, "--from is one file"),
    ):
        config = SimpleNamespace(names=names, from_file=options.get("from_file"), force=False)
        with pytest.raises(UsageError, match=told):
            fetch_models(config)
    with pytest.raises(UsageError, match="no start 'nothing'"):
        show_start("nothing")
    assert not models_folder().exists()


def test_the_command_prints_the_table_one_start_and_what_was_fetched(folder, served):
    shown = call("models")
    assert shown.exit_code == 0
    assert "rad-dino  " in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= max(80, len(str(folder)) + 60)
    listed = json.loads(call("models", "--json").stdout)
    assert [one["name"] for one in listed["models"]] == list(cards.start_cards())
    one = call("models", "show", NAME)
    assert "densenet121" in one.stdout
    assert "next: " in one.stdout
    assert json.loads(call("models", "show", NAME, "--json").stdout)["labels"][0] == "Atelectasis"
    got = call("models", "fetch", NAME, "--json")
    assert json.loads(got.stdout)["fetched"][0]["path"].startswith(str(folder))
    assert "was here" in call("models", "fetch", NAME).stdout
    assert call("models", "show").exit_code == 2
    assert call("models", "nonsense").exit_code == 2
    failed = call("models", "fetch", "ark-plus")
    assert (failed.exit_code, failed.stdout) == (1, "")
