"""A published network as a run: made once of its file, with its own labels and scaling."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision import models

from cxrtool import load_run
from cxrtool.core.config import CompareConfig, EvaluateConfig, ExportConfig, PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, RunError, WeightsError
from cxrtool.core.run_cards import read_card
from cxrtool.core.start_cards import start_cards
from cxrtool.core.workspace import Workspace
from cxrtool.gui.model_card import facts_of_run
from cxrtool.inference.engines.exported import read_exported
from cxrtool.networks.published_runs import LABELS, run_of
from cxrtool.workflows.compare import compare_runs
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.export import export_run
from cxrtool.workflows.external import evaluate_external
from cxrtool.workflows.models import fetch_models
from cxrtool.workflows.predict import predict_images
from cxrtool.workflows.runs import list_runs
from tests.conftest import Listening, call_chexperts
from tests.support.smaller import get_smaller, get_smallest

NAME = "xrv:densenet121-res224-chex"
CARD = start_cards()[NAME]
RUN = "xrv-densenet121-res224-chex"


def published_network(labels=18):
    """A DenseNet as torchvision's, small: one channel, labels, and numbers that differ."""
    torch.manual_seed(7)
    network = models.get_model("densenet121", weights=None)
    width = network.features.conv0.out_channels
    network.features.conv0 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
    network.classifier = nn.Linear(network.classifier.in_features, labels)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    network.pathologies = list(CARD.labels)
    return network.eval()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The models folder of a machine where networks are small."""
    monkeypatch.setattr(models, "get_model", get_smaller)
    monkeypatch.setenv("CXRTOOL_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def network(folder):
    """The published network, whose file is here."""
    made = published_network()
    torch.save(made, folder / CARD.file)
    return made


def own_scores(network, image):
    """What torchxrayvision's code makes of a square image: its scaling, one channel."""
    grey = torch.from_numpy(np.asarray(image, dtype=np.float32))
    scaled = (2 * (grey / 255) - 1) * 1024
    with torch.no_grad():
        return torch.sigmoid(network(scaled[None, None]))[0].numpy()


def test_it_scores_as_the_published_network_does_under_our_names(tmp_path, network):
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    loaded = load_run("xrv:chex", tmp_path / "cxr", engine="torch", device="cpu", precision="fp32")
    row = loaded.predict([tmp_path / "x.png"]).iloc[0]
    expected = own_scores(network, pixels)
    named = [(LABELS.get(one, one), place) for place, one in enumerate(CARD.labels) if one]
    assert loaded.labels == tuple(label for label, _ in named)
    assert "Pleural Effusion" in loaded.labels
    for label, place in named:
        assert row[label] == pytest.approx(expected[place], abs=1e-4)
    assert np.ptp([row[label] for label, _ in named]) > 0.01
    assert set(loaded.thresholds.values()) == {None}


def test_it_is_made_once_and_said_once(tmp_path, network, folder, capsys):
    runs, reporter = tmp_path / "runs", Reporter(progress=False)
    run = run_of(runs, "xrv:chex", reporter)
    assert f"{RUN} in {runs}" in " ".join(capsys.readouterr().err.split())
    first = run.weights.read_bytes()
    assert run_of(runs, NAME, reporter).path == run.path
    assert capsys.readouterr().err == ""
    (folder / CARD.file).unlink()  # the run stands for it now
    assert run_of(runs, NAME).weights.read_bytes() == first
    assert run_of(runs, RUN).path == run.path
    assert [one.name for one in runs.iterdir()] == [RUN]
    torch.save(published_network().requires_grad_(False), folder / CARD.file)
    with pytest.raises(RunError, match="made of another file"):
        run_of(runs, NAME)


def test_its_card_says_what_it_is(tmp_path, network):
    run = run_of(tmp_path / "runs", NAME)
    card = read_card(run)
    assert (card.arch, card.image_sizes) == ("densenet121", (224,))
    assert (card.pixel_mean, card.pixel_std) == (0.5, 1 / 2048)
    assert card.published.trained_on == ("chexpert",)
    assert card.labels[:3] == ("Atelectasis", "Consolidation", "Pneumothorax")
    assert len(card.labels) == sum(bool(label) for label in CARD.labels)
    assert not card.train_patients
    weights = load_file(run.weights)
    kept = [place for place, label in enumerate(CARD.labels) if label]
    assert torch.equal(weights["classifier.weight"], network.classifier.weight[kept])


@pytest.mark.parametrize("converted", [False, True])
def test_a_file_of_ones_own_names_its_labels(tmp_path, folder, network, converted):
    path = tmp_path / "mine.pt"
    network.pathologies = ["Effusion", "", *(f"L{n}" for n in range(16))]
    torch.save(network, path)
    if converted:
        from cxrtool.networks.converted_files import convert

        convert(path, tmp_path / "mine.safetensors", {})
        path = tmp_path / "mine.safetensors"
    run = run_of(tmp_path / "runs", f"xrv:{path}")
    card = read_card(run)
    assert run.name == "xrv-mine"
    assert card.labels == ("Pleural Effusion", *(f"L{n}" for n in range(16)))
    assert card.published.trained_on == ()


def test_what_is_no_published_network_is_refused(tmp_path, folder, network):
    runs = tmp_path / "runs"
    network.pathologies = []
    torch.save(network, tmp_path / "unnamed.pt")
    with pytest.raises(WeightsError, match="does not name its labels"):
        run_of(runs, f"xrv:{tmp_path / 'unnamed.pt'}")
    torch.save(published_network(labels=17), folder / CARD.file)
    with pytest.raises(WeightsError, match=r"shapes \(17, .*18 labels need \(18, "):
        run_of(runs, NAME)
    torch.save(get_smallest("resnet18").state_dict(), folder / CARD.file)
    with pytest.raises(WeightsError, match="do not fit densenet121"):
        run_of(runs, NAME)
    (folder / CARD.file).unlink()
    with pytest.raises(WeightsError, match=f"cxrtool models fetch {NAME}"):
        run_of(runs, NAME)
    with pytest.raises(WeightsError, match=r"xrv:densenet121-res224-cheks: no such file.*chex"):
        run_of(runs, "xrv:densenet121-res224-cheks")
    with pytest.raises(RunError, match="no run 'chex'"):
        run_of(runs, "chex")
    assert not runs.exists() or list(runs.iterdir()) == []
    (runs / RUN).mkdir(parents=True)
    with pytest.raises(RunError, match="a run of this name"):
        run_of(runs, NAME)


def evaluation(**options):
    return EvaluateConfig(run=NAME, bootstrap=0, workers=0, device="cpu", report=False, **options)


def test_evaluate_says_what_it_is_and_chooses_thresholds_on_these_datas_valid(prepared, network):
    result = evaluate_run(evaluation(), prepared, seed=1)
    assert result.protocol.name == "other"
    assert any("published network, trained by others on CheXpert" in w for w in result.warnings)
    assert result.labels["Edema"].threshold is None
    with pytest.raises(RunError, match=f"evaluate {RUN} --split valid"):
        evaluate_run(evaluation(operating_point="youden"), prepared, seed=1)
    evaluate_run(evaluation(split="valid"), prepared, seed=1)
    chosen = evaluate_run(evaluation(operating_point="youden", keep=True), prepared, seed=1)
    limits = {label: scores.threshold for label, scores in chosen.labels.items()}
    assert any(limit is not None for limit in limits.values())
    assert read_card(run_of(prepared.runs, NAME)).thresholds == limits


def test_labels_that_the_data_lack_are_left_undefined(prepared, folder, network):
    network.pathologies = [one or f"Own {n}" for n, one in enumerate(CARD.labels)]
    torch.save(network, folder / "wide.pt")
    config = EvaluateConfig(
        run=f"xrv:{folder / 'wide.pt'}", bootstrap=0, workers=0, device="cpu", report=False
    )
    result = evaluate_run(config, prepared, seed=1)
    assert result.labels["Own 2"].n == 0
    assert result.labels["Edema"].n > 0


def test_patients_of_the_collection_it_was_trained_on_are_refused(prepared, network):
    call_chexperts(prepared)
    with pytest.raises(DataError, match=r"was trained on CheXpert.*--force"):
        evaluate_run(evaluation(), prepared, seed=1)
    result = evaluate_run(evaluation(force=True), prepared, seed=1)
    assert result.protocol.trained_on
    assert any("the scores are too good" in text for text in result.warnings)


def test_on_other_data_it_stands_alone(prepared, network, tmp_path):
    listening, home = Listening(), Workspace(tmp_path / "home")
    config = evaluation(data=[prepared.folder])
    result = evaluate_external(config, home, seed=1, reporter=listening)
    (one,) = result.sets
    assert result.internal is one.differences is None
    assert one.result.protocol.name == "other"
    assert "Edema" in one.labels.common
    assert "No Finding" in one.labels.other
    assert not any("stand beside" in text for text in listening.warnings)
    call_chexperts(prepared)
    with pytest.raises(DataError, match=r"was trained on CheXpert.*--force"):
        evaluate_external(config, home, seed=1)


def test_predict_compare_and_runs_take_it(trained, network, tmp_path, drawn):
    workspace = trained.workspace
    image = next(drawn.folder.rglob("*frontal.jpg"))
    config = PredictConfig(run=[NAME], output=tmp_path / "t.csv", workers=0, device="cpu")
    assert predict_images(config, [str(image)], workspace).failed == 0
    compared = compare_runs(
        CompareConfig(uncertainty="ones", bootstrap=0, workers=0, device="cpu"),
        [trained.run, NAME],
        workspace,
        seed=1,
    )
    assert [one.run for one in compared.results] == [trained.run, RUN]
    listed = {one.run: one for one in list_runs(workspace)}[RUN]
    assert (listed.state, listed.problems) == ("finished", ())


def test_it_is_exported_and_its_facts_are_shown(prepared, network, tmp_path):
    output = tmp_path / "published.onnx"
    export_run(ExportConfig(run=NAME, output=output), prepared)
    card = read_exported(output)
    assert card.labels == read_card(run_of(prepared.runs, NAME)).labels
    facts = facts_of_run(run_of(prepared.runs, NAME), "torch on cpu")
    assert "CheXpert" in str(facts)


def test_a_fetched_file_is_the_same_network(tmp_path, folder, network):
    from cxrtool.core.config import ModelsConfig

    raw = tmp_path / "downloaded.pt"
    (folder / CARD.file).rename(raw)
    config = ModelsConfig(action="fetch", names=[NAME], from_file=raw)
    fetch_models(config)
    run = run_of(tmp_path / "runs", NAME)
    assert json.loads(run.model.read_text())["published"]["name"] == NAME
    kept = [place for place, label in enumerate(CARD.labels) if label]
    assert torch.equal(
        load_file(run.weights)["classifier.bias"], network.classifier.bias.detach()[kept]
    )
