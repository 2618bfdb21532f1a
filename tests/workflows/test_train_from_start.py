"""`train` from a published start: what its run keeps, and how it is repeated and resumed."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from cxrtool.core import start_cards as cards
from cxrtool.core.config import EvaluateConfig, PredictConfig, TrainConfig
from cxrtool.core.errors import UsageError, WeightsError
from cxrtool.core.start_cards import StartCard
from cxrtool.core.yaml_files import read_yaml
from cxrtool.networks.architectures import build_network
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.predict import predict_images
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Hearing, call_chexperts
from tests.support.training_options import set_up_tiny

NAME, ARCH = "tiny:start", "timm/test_vit"
CARD = StartCard(
    name=NAME,
    arch=ARCH,
    chest=True,
    mean=(0.25,),
    std=(0.125,),
    file="tiny.pth.tar",
    key="teacher",
    url="https://example.org/tiny.pth.tar",
)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A start on this machine: its network."""
    monkeypatch.setenv("CXRTOOL_MODELS", str(tmp_path / "models"))
    known = {**cards.start_cards(), NAME: CARD}
    monkeypatch.setattr(cards, "start_cards", lambda: known)
    (tmp_path / "models").mkdir()
    torch.manual_seed(3)
    network = build_network(ARCH, 2, image_size=64)
    state = {f"module.{key}": one for key, one in network.state_dict().items()}
    torch.save({"teacher": state}, tmp_path / "models" / CARD.file)
    return network


def options(**changes):
    plain = {"image_size": 32, "batch_size": 16, "limit": 32, "workers": 0}
    small = {"precision": "fp32", "device": "cpu", "epochs": 1, "freeze_epochs": 1}
    return TrainConfig(**{**plain, **small, "arch": NAME, **changes})


def test_a_run_from_a_start_can_be_built_repeated_and_extended(prepared, drawn, start):
    result = train_model(options(keep_checkpoint=True), prepared, seed=1)
    assert result.run.name == "tiny-start-ones"
    settings = read_yaml(result.run.config)
    assert (settings["arch"], settings["weights"]) == (ARCH, NAME)
    model = json.loads(result.run.model.read_text())
    assert model["arch"] == ARCH
    assert model["weights_from"].startswith(f"{NAME}: {CARD.file} (SHA-256 ")
    assert (model["pixel_mean"], model["pixel_std"]) == (0.25, 0.125)
    assert model["pixels_of"] == f"the start's own training ({NAME})"
    # With the head alone trained, the body is the start's.
    weights = load_file(result.run.weights)
    assert torch.equal(weights["blocks.3.mlp.fc1.weight"], start.blocks[3].mlp.fc1.weight)

    image = next(drawn.folder.rglob("*frontal.jpg"))
    table = prepared.folder / "table.csv"
    config = PredictConfig(run=[result.run.name], output=table, workers=0, device="cpu")
    assert predict_images(config, [str(image)], prepared).failed == 0

    del settings["seed"]
    again = train_model(TrainConfig(**settings, name="again", workers=0), prepared, seed=1)
    other = load_file(again.run.weights)
    assert all(torch.equal(other[key], one) for key, one in weights.items())

    longer = replace(TINY, resume=result.run.name, epochs=2)
    assert train_model(longer, prepared, seed=42, given={"epochs"}).epochs == 2
    assert json.loads(result.run.model.read_text())["pixel_mean"] == 0.25


def test_the_datas_own_pixels_are_taken_where_they_are_asked_for(prepared, start):
    measured = set_up_tiny(prepared).data
    assert measured.pixels_of == "the training images"
    for changes in ({"normalise": "data"}, {"weights": "none"}):
        own = set_up_tiny(prepared, arch=NAME, **{"weights": "imagenet", **changes}).data
        assert (own.mean, own.std) == (measured.mean, measured.std)
    theirs = set_up_tiny(prepared, arch=NAME, weights="imagenet", normalise="start").data
    assert (theirs.mean, theirs.std) == (0.25, 0.125)
    with pytest.raises(UsageError, match=r"--normalise start: --weights none does not say"):
        set_up_tiny(prepared, normalise="start")


def test_what_a_start_has_seen_and_its_size_are_told(prepared, start, monkeypatch):
    known = {**cards.start_cards(), NAME: replace(CARD, trained_on=("chexpert",))}
    monkeypatch.setattr(cards, "start_cards", lambda: known)
    reporter = Hearing()
    train_model(options(name="strange"), prepared, seed=1, reporter=reporter)
    assert not any("may have seen" in text for text in reporter.warnings)
    assert any("was trained at 224 px, and --image-size is 32" in text for text in reporter.notes)
    call_chexperts(prepared)
    train_model(options(name="seen"), prepared, seed=1, reporter=reporter)
    assert any("may have seen patients of valid and test" in text for text in reporter.warnings)
    evaluation = EvaluateConfig(run="seen", bootstrap=0, workers=0, device="cpu", report=False)
    result = evaluate_run(evaluation, prepared, seed=1)
    assert any(f"seen began from {NAME}" in text for text in result.warnings)
    later = options(arch=ARCH, weights="seen", name="later")
    train_model(later, prepared, seed=1, reporter=(reporter := Hearing()))
    assert any("may have seen patients of valid and test" in text for text in reporter.warnings)
    result = evaluate_run(replace(evaluation, run="later", force=True), prepared, seed=1)
    assert any(f"later began from {NAME}" in text for text in result.warnings)


def test_a_start_that_is_not_here_or_does_not_fit_leaves_no_run(prepared, start, tmp_path):
    file = tmp_path / "models" / CARD.file
    content = torch.load(file)
    del content["teacher"]["module.blocks.1.norm1.weight"]
    torch.save(content, file)
    with pytest.raises(WeightsError, match=r"1 of \d+ are missing \(blocks.1.norm1.weight\)"):
        train_model(options(), prepared, seed=1)
    result = train_model(options(allow_missing=True), prepared, seed=1)
    assert read_yaml(result.run.config)["allow_missing"] is True
    file.unlink()
    with pytest.raises(WeightsError, match=f"cxrtool models fetch {NAME}"):
        train_model(options(name="missing"), prepared, seed=1)
    assert not (prepared.runs / "missing").exists()
