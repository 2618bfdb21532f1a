"""Where data are from: told by evidence, and wherever their scores stand."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cxrtool.cli.show import scores as show_scores
from cxrtool.core.config import CommonConfig, CompareConfig, EvaluateConfig, PrepareConfig
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.origin import BANNER, DRAWN_BY, is_whole, published_origin
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.provenance import data_of_run
from cxrtool.data.published import LabelledRows, is_chexperts
from cxrtool.gui.model_card import facts_of_run
from cxrtool.workflows.compare import compare_runs
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.evaluate_tables import evaluate_tables
from cxrtool.workflows.export import _metadata
from cxrtool.workflows.prepare import prepare_manifest
from tests.conftest import Listening
from tests.support.copies import copy_folder

NO_FINDING = CHEXPERT_LABELS.index("No Finding")


def train_table(rows=191_027, patients=64_534, without=(7_766, 2_760)):
    """Frontal rows with the counts of CheXpert's train.csv."""
    raw = np.full((rows, 14), np.nan)
    raw[:, 3] = 1
    raw[: without[0], 3] = -1
    raw[: without[1], 3] = np.nan
    numbers = np.arange(rows) % patients + 1
    return {"numbers": numbers, "raw": raw, "frontal": np.ones(rows, bool)}


def chexperts(part, table):
    return is_chexperts(part, LabelledRows(labels=CHEXPERT_LABELS, **table))


def test_chexperts_train_table_is_known_by_its_counts():
    assert chexperts("train", train_table())
    some = np.arange(191_027) % 1000 != 7  # a copy that lost some images
    assert chexperts("train", {name: values[some] for name, values in train_table().items()})
    laterals = train_table()
    numbers = np.concatenate([laterals["numbers"], np.full(32_387, 1)])
    raw = np.concatenate([laterals["raw"], np.full((32_387, 14), np.nan)])
    frontal = np.arange(len(numbers)) < 191_027
    assert chexperts("train", {"numbers": numbers, "raw": raw, "frontal": frontal})


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 416, "patients": 288, "without": (20, 20)},
        {"rows": 180_000},
        {"patients": 60_000},
        {"without": (9_000, 2_760)},
        {"without": (7_766, 2_000)},
    ],
)
def test_another_table_in_its_layout_is_not_chexperts(changes):
    assert not chexperts("train", train_table(**changes))


def test_a_table_with_other_patients_or_an_absent_no_finding_is_not_chexperts():
    other = train_table()
    assert not chexperts("train", {**other, "numbers": other["numbers"] + 10})
    other["raw"][5, NO_FINDING] = 0
    assert not chexperts("train", other)


def test_the_parts_that_radiologists_labelled_are_known_by_theirs():
    raw = np.zeros((234, 14))
    raw[0, [CHEXPERT_LABELS.index("Lung Lesion"), CHEXPERT_LABELS.index("Pleural Other")]] = 1
    valid = {
        "numbers": 64_541 + np.arange(234) % 200,
        "raw": raw,
        "frontal": np.arange(234) < 202,
    }
    assert chexperts("valid", valid)
    assert chexperts("valid", {name: values[:202] for name, values in valid.items()})
    assert not chexperts("valid", {name: values[:20] for name, values in valid.items()})
    assert not chexperts("valid", {**valid, "raw": raw[::-1] + (np.arange(14) == 12)})
    assert not chexperts("valid", {**valid, "raw": np.where(raw, 1, np.nan)})
    test = {"numbers": 64_741 + np.arange(500), "raw": np.ones((500, 14))}
    assert chexperts("test", {**test, "frontal": np.ones(500, bool)})
    assert is_whole("nih", 112_100, 30_800)
    assert not is_whole("nih", 5_606, 4_230)


def test_prepare_records_that_images_are_drawn(prepared_once):
    info = prepared_once.read_data_info()
    assert info.origin.drawn
    assert info.origin.registers == ("drawn-7-demo",)
    assert set(info.labels_by.values()) == {DRAWN_BY}
    written = json.loads(prepared_once.data_info.read_text())
    assert "Stanford" not in json.dumps(written)


def test_drawn_images_are_known_whatever_table_names_them(drawn, tmp_path):
    table = pd.read_csv(drawn.folder / "train.csv").head(20).assign(patient_id="p", Sex="Male")
    table.to_csv(tmp_path / "mine.csv", index=False)
    config = PrepareConfig(
        data=tmp_path / "mine.csv",
        images=drawn.folder.parent,
        check_images="none",
        cache=False,
    )
    workspace = Workspace(tmp_path / "cxr")
    assert prepare_manifest(config, workspace).origin.drawn


def test_the_layout_of_chexpert_alone_makes_nobody_stanfords(drawn, tmp_path):
    data = shutil.copytree(drawn.folder, tmp_path / "CheXpert-v1.0-small")
    for mark in ("drawn.json", "README.txt"):
        (data / mark).unlink()
    workspace = Workspace(tmp_path / "cxr")
    prepare_manifest(PrepareConfig(data=data, check_images="none", cache=False), workspace)
    info = workspace.read_data_info()
    assert info.origin.kind == "own"
    assert "not its published tables" in info.origin.description
    assert info.labels_by == {name: f"whoever made {name}.csv" for name in ("train", "valid")}


def older(workspace, **changes):
    values = json.loads(workspace.data_info.read_text())
    del values["origin"]
    values["labels_by"] = {"train": "labeler of train.csv", "valid": "radiologists of valid.csv"}
    workspace.data_info.write_text(json.dumps({**values, **changes}))
    return workspace.read_data_info()


def test_a_workspace_of_before_is_looked_at_again(prepared, tmp_path):
    assert older(prepared).origin.drawn
    counts = {
        "rows": 223_640,
        "sex": {"Male": 132_760, "Female": 90_880},
        "orientation": {"AP": 161_755, "PA": 29_453},
        "folder": str(tmp_path),
    }
    info = older(prepared_again(prepared), folder=str(tmp_path))
    assert (info.origin.kind, info.labels_by["train"]) == ("own", "whoever made train.csv")
    info = older(prepared_again(prepared), **counts)
    assert (info.origin.kind, info.labels_by["train"]) == ("chexpert", "labeler of train.csv")


def prepared_again(workspace):
    values = json.loads(workspace.data_info.read_text())
    values["origin"] = published_origin("chexpert", ("train", "valid")).as_json()
    workspace.data_info.write_text(json.dumps(values))
    return workspace


@pytest.fixture(scope="module")
def page(trained_once, tmp_path_factory):
    """The drawn run, scored in a workspace of this module's, with its page."""
    folder = tmp_path_factory.mktemp("origin") / "cxr"
    copy_folder(trained_once.workspace.folder, folder)
    workspace = Workspace(folder)
    config = EvaluateConfig(bootstrap=0, batch_size=64, workers=0)
    result = evaluate_run(config, workspace, seed=1)
    return SimpleNamespace(
        workspace=workspace, result=result, run=RunFolder(workspace.runs / "tiny")
    )


def test_scores_on_drawings_stand_under_a_banner(page, capsys):
    assert page.result.protocol.name == "other"
    assert page.result.data.kind == "drawn"
    assert page.result.references.same == ()
    text = page.run.report("test").read_text("utf-8")
    assert text.index(BANNER) < text.index("<h1>")
    assert "Stanford" not in text.split('id="published"')[0]
    captions = text.split("<figcaption>")[1:]
    assert captions
    assert all("drawn images" in one.split("</figcaption>")[0] for one in captions)
    show_scores.evaluated(page.result, CommonConfig())
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("DRAWN IMAGES.")
    assert "labels by the program that drew the images" in shown


def test_a_comparison_on_drawings_says_so(page, capsys):
    config = CompareConfig(bootstrap=0)
    result = compare_runs(config, ["tiny"], page.workspace, seed=1)
    show_scores.compared(result, config, CommonConfig())
    assert capsys.readouterr().out.startswith("DRAWN IMAGES.")
    assert any("drawings by cxrtool" in note for note in result.tables["aurocs"].notes)


def test_a_run_carries_what_it_was_trained_on(page):
    data = json.loads(page.run.model.read_text())["data"]
    assert (data["origin"], data["labels_by"]["train"]) == ("drawn", DRAWN_BY)
    about = _metadata(page.run, read_card(page.run))
    assert about["train_data"]["origin"] == about["test_data"]["origin"] == "drawn"
    facts = facts_of_run(page.run, "torch")
    assert "trained on drawings" in facts.banner
    assert dict(facts.rows)["Images of the training"].startswith("drawings")


def test_a_network_of_drawings_that_scores_x_rays_is_warned_of(trained):
    prepared_again(trained.workspace)
    listening = Listening()
    config = EvaluateConfig(bootstrap=0, batch_size=64, workers=0, report=False)
    result = evaluate_run(config, trained.workspace, seed=1, reporter=listening)
    assert any("trained on drawings" in text for text in listening.warnings)
    assert any("trained on drawings" in text for text in result.warnings)


def test_a_table_of_labels_beside_drawings_is_theirs(drawn, tmp_path):
    truth = pd.read_csv(drawn.folder / "valid.csv")
    scores = truth[["Path", "Edema", "Pneumonia"]].assign(Edema=np.linspace(0, 1, len(truth)))
    scores.assign(Pneumonia=0.5).to_csv(tmp_path / "p.csv", index=False)
    config = EvaluateConfig(
        predictions=[tmp_path / "p.csv"], truth=drawn.folder / "valid.csv", bootstrap=0
    )
    result = evaluate_tables(config, seed=1).results[0]
    assert (result.protocol.name, result.data.kind) == ("other", "drawn")
    assert result.protocol.labels_by == DRAWN_BY


def test_a_run_of_before_says_nothing_of_the_data_of_another_workspace(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    model = read_json(run.model)
    write_json(run.model, {key: value for key, value in model.items() if key != "data"})
    assert data_of_run(run)["origin"] == "drawn"
    with trained.workspace.manifest.open("a") as file:
        file.write("\n")
    assert data_of_run(run) == {}
