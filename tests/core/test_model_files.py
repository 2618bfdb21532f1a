"""Where files of published weights are looked for."""

from pathlib import Path

import pytest

from cxrtool.core.errors import UsageError
from cxrtool.core.model_files import (
    ModelFile,
    file_of_start,
    file_on_hub,
    hub_cache,
    models_folder,
    torch_cache,
)
from cxrtool.core.start_cards import start_cards

FILE = ModelFile(name="xrv:a/b", file="net.pt", url="https://example.org/net.pt")


@pytest.fixture(autouse=True)
def _empty(tmp_path, monkeypatch):
    for name in ("CXRTOOL_MODELS", "TORCH_HOME", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_folders_are_where_their_tools_have_them(tmp_path, monkeypatch):
    import torch

    assert torch_cache() == Path(torch.hub.get_dir()) / "checkpoints"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert torch_cache() == Path(torch.hub.get_dir()) / "checkpoints"
    assert hub_cache() == tmp_path / "cache" / "huggingface" / "hub"
    assert models_folder() == tmp_path / "cache" / "cxrtool" / "models"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert torch_cache() == Path(torch.hub.get_dir()) / "checkpoints"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert hub_cache() == tmp_path / "hf" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert hub_cache() == tmp_path / "hub"
    monkeypatch.setenv("CXRTOOL_MODELS", "~/mine")
    assert models_folder() == tmp_path / "mine"


def test_a_file_is_found_in_every_place_and_ours_comes_first(tmp_path):
    assert FILE.here() is None
    places = list(FILE.places())
    assert len(set(places)) == 4
    for place in reversed(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert FILE.here() == place
    assert places[0] == models_folder() / "xrv-a-b.safetensors"


def test_a_name_that_many_files_have_counts_in_the_hubs_cache_alone(tmp_path):
    file = file_on_hub("hf:me/nets")
    assert file.link == "https://huggingface.co/me/nets/resolve/main/model.safetensors"
    models_folder().mkdir(parents=True)
    (models_folder() / "model.safetensors").touch()
    assert file.here() is None
    (models_folder() / file.stored).touch()
    assert file.here() == models_folder() / "hf-me-nets.safetensors"


@pytest.mark.parametrize("name", ["hf:", "hf:a", "hf:a/b/c", "hf:a/", "hf:a/b:../c", "hf:../b"])
def test_what_names_no_repository_is_refused(name):
    with pytest.raises(UsageError, match="expected hf:OWNER/REPOSITORY"):
        file_on_hub(name)


def test_stored_names_differ():
    stored = [file_of_start(card).stored for card in start_cards().values()]
    assert len(set(stored)) == len(stored)
    assert all("/" not in name and ":" not in name for name in stored)


def test_the_advice_names_the_command_the_address_and_the_place():
    told = FILE.how_to_get()
    for part in ("cxrtool models fetch xrv:a/b", FILE.url, str(models_folder() / "net.pt")):
        assert part in told
    told = file_of_start(start_cards()["ark-plus"]).how_to_get()
    assert "https://github.com/jlianglab/Ark" in told
    assert "models fetch ark-plus --from FILE" in told
    assert "With a network" not in told
