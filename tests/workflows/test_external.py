"""`evaluate --data`: a run on another data set beside its own, and what is refused of it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from cxrtool.core.config import EvaluateConfig, PrepareConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.evaluate_tables import evaluate_tables
from cxrtool.workflows.external import evaluate_external
from cxrtool.workflows.prepare import prepare_manifest
from tests.conftest import Hearing
from tests.support.copies import copy_folder
from tests.support.dicoms import dicom
from tests.support.evaluating import LABELS, QUICK, evaluate
from tests.support.nih import FINDINGS, draw_nih


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    return draw_nih(tmp_path_factory.mktemp("drawn-nih"), patients=40, seed=11)


@pytest.fixture(scope="module")
def scored(trained_once, tmp_path_factory):
    """A workspace of this module's own, for the evaluation that `result` is of."""
    folder = tmp_path_factory.mktemp("scored") / "cxr"
    copy_folder(trained_once.workspace.folder, folder)
    return replace(trained_once, workspace=Workspace(folder))


def contents(folder):
    return {
        file.relative_to(folder): file.stat().st_mtime_ns
        for file in folder.rglob("*")
        if file.is_file()
    }


def elsewhere(trained, *data, reporter=None, **options):
    config = EvaluateConfig(**{**QUICK, "run": trained.run, "data": list(data), **options})
    return evaluate_external(config, trained.workspace, seed=1, reporter=reporter or Hearing())


@pytest.fixture(scope="module")
def result(scored, nih):
    before = contents(nih)
    found = elsewhere(scored, nih)
    assert contents(nih) == before, "the user's data were written to"
    return found


def test_each_figure_equals_an_independent_count(scored, nih, result):
    """From NIH's own table and the run's predictions, by pandas and scikit-learn."""
    table = pd.read_csv(nih / "Data_Entry_2017.csv").set_index("Image Index")
    findings = table["Finding Labels"].str.split("|")
    place = next((scored.workspace.runs / scored.run / "external").iterdir())
    scores = read_predictions(place / "predictions" / "all.csv", LABELS).scores
    names = scores.index.str.removeprefix("images/")
    assert sorted(names) == sorted(table.index)
    point = json.loads(RunFolder(scored.workspace.runs / scored.run).thresholds.read_text())
    (one,) = result.sets
    assert set(one.labels.common) == {*FINDINGS, "No Finding"}
    for label in one.labels.common:
        theirs = FINDINGS.get(label, label)
        truth = findings.loc[names].map(lambda found, name=theirs: name in found).to_numpy()
        score, figures = scores[label].to_numpy(dtype=float), one.result.labels[label]
        assert (figures.n, figures.positives) == (len(table), truth.sum())
        assert figures.auroc.value == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        threshold = point["thresholds"][label]
        assert figures.threshold == threshold
        if threshold is not None:
            called = score >= threshold
            assert figures.sensitivity.value == pytest.approx(called[truth].mean())
            assert figures.specificity.value == pytest.approx(1 - called[~truth].mean())
    assert one.result.patients == table["Patient ID"].nunique()
    assert {"sex", "age", "view"} <= set(one.result.subgroups)


def test_the_internal_scores_are_evaluates_and_differences_are_there_less_own(scored, result):
    own = evaluate(scored)
    (one,) = result.sets
    common = {label: own.labels[label] for label in one.labels.common}
    assert result.internal.result.labels == common
    for label, apart in one.differences.labels.items():
        here, there = own.labels[label].auroc.value, one.result.labels[label].auroc.value
        assert apart.internal.value == here
        assert apart.external.value == there
        if here is not None and there is not None:
            assert apart.difference.value == pytest.approx(there - here)
    defined = [a for a in one.differences.labels.values() if a.difference.value is not None]
    assert one.differences.defined == len(defined)
    mean = one.differences.mean
    assert mean.difference.value == pytest.approx(np.mean([a.difference.value for a in defined]))
    assert mean.external.value == pytest.approx(np.mean([a.external.value for a in defined]))


def test_what_both_sides_are_is_told(result):
    told = result.as_json()
    assert told["run"] == "tiny"
    own, (other,) = told["internal"], told["external"]
    assert own["cells"]["blank_means"] == "not mentioned"
    assert other["cells"] == {"blank_means": "absent", "blank": 0.0, "uncertain": 0.0}
    assert other["labels"]["empty"] == [
        "Enlarged Cardiomediastinum",
        "Fracture",
        "Support Devices",
    ]
    assert other["labels"]["missing"] == other["labels"]["other"] == []
    for side in (own, other):
        protocol = side["result"]["protocol"]
        assert (protocol["uncertainty"], protocol["blank"]) == ("ones", "zeros")
        assert protocol["views"] == ["frontal"]
    assert other["result"]["split"] is None
    json.dumps(told, allow_nan=False)


def test_files_are_those_of_an_evaluation_in_a_folder_of_the_set(scored, result):
    place = next((scored.workspace.runs / scored.run / "external").iterdir())
    assert place.name.startswith("nih-")
    written = json.loads((place / "metrics" / "all.json").read_text())
    assert written.pop("format") == 1
    assert written == result.sets[0].result.as_json()
    beside = json.loads((place / "metrics" / "all-beside.json").read_text())
    assert beside["external"] == result.as_json()["external"]
    assert {path.name for path in (place / "metrics").glob("*.csv")} == {
        "all.csv",
        "all-subgroups.csv",
    }
    assert all(path.is_file() for path in result.written)


def test_the_second_time_nothing_is_prepared_or_scored(scored, nih, result, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.external.prepare_manifest", None)
    monkeypatch.setattr("cxrtool.inference.scorer.load_scorer", None)
    hearing = Hearing()
    again = elsewhere(scored, nih, reporter=hearing)
    assert again.as_json() == result.as_json()
    assert any("is prepared, and unchanged" in note for note in hearing.notes)


def test_data_that_changed_are_prepared_and_scored_anew(trained, nih, tmp_path):
    data = shutil.copytree(nih, tmp_path / "nih")
    before = elsewhere(trained, data).sets[0].result
    files = sorted((data / "images").iterdir())
    shutil.copy(files[0], files[-1])
    after = elsewhere(trained, data).sets[0].result
    assert after.n == before.n
    assert after.labels != before.labels
    places = list((trained.workspace.runs / trained.run / "external").iterdir())
    assert len(places) == 2
    assert len(list(trained.workspace.external.iterdir())) == 1


def test_the_page_is_made_and_names_the_command(trained, nih):
    result = elsewhere(trained, nih, report=True)
    page = next(path for path in result.written if path.name == "report-all.html")
    assert "--data nih" in page.read_text()
    assert str(nih) not in page.read_text()


def test_several_sets_each_have_their_scores_and_a_workspace_is_taken_as_it_is(
    trained, nih, tmp_path
):
    other = draw_nih(tmp_path / "other", patients=15, seed=12)
    workspace = Workspace(tmp_path / "ws")
    prepare_manifest(PrepareConfig(data=other, workers=0, cache=False), workspace)
    before = contents(workspace.folder)
    result = elsewhere(trained, nih, workspace.folder)
    assert [one.name for one in result.sets] == ["nih", "ws"]
    assert contents(workspace.folder) == before
    alone = elsewhere(trained, other)
    assert alone.sets[0].result.labels == result.sets[1].result.labels
    with pytest.raises(UsageError, match="is a workspace, and prepared"):
        elsewhere(trained, workspace.folder, format="nih")


def test_labels_are_matched_by_other_spellings_and_others_are_told(trained, nih, tmp_path):
    workspace = Workspace(tmp_path / "ws")
    prepare_manifest(PrepareConfig(data=nih, workers=0, cache=False), workspace)
    table = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    names = {"Pleural Effusion": "pleural_effusion", "Pneumonia": "Bronchitis"}
    table.rename(columns=names).to_csv(workspace.manifest, index=False)
    (one,) = elsewhere(trained, workspace.folder).sets
    assert one.labels.renamed == {"Pleural Effusion": "pleural_effusion"}
    assert one.labels.missing == ("Pneumonia",)
    assert one.labels.other == ("Bronchitis",)
    assert "Pneumonia" not in one.result.labels


def renamed_copy(drawn, folder):
    """The drawn data again: saved anew, and every patient with another number."""
    data = folder / "CheXpert-v1.0-small"
    table = pd.read_csv(drawn / "train.csv", dtype=str, keep_default_na=False)
    table = table[table["Frontal/Lateral"] == "Frontal"]
    paths = [path.replace("patient0", "patient7") for path in table["Path"]]
    for source, target in zip(table["Path"], paths, strict=True):
        file = folder / target
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(drawn.parent / source) as image:
            image.resize((image.width - 20, image.height - 20)).save(file, quality=80)
    table.assign(Path=paths).to_csv(data / "train.csv", index=False)
    return data


def test_a_copy_with_renamed_patients_is_refused_by_its_pictures(trained, tmp_path):
    data = renamed_copy(trained.data, tmp_path)
    split = pd.read_csv(trained.workspace.split)
    frontal = split["path"].str.contains("train/")
    seen = split["split"].isin(("train", "valid")) & frontal
    told = f"{seen.sum()} of {frontal.sum()} images in CheXpert-v1.0-small are pictures that"
    with pytest.raises(DataError, match=rf"{told} the run was trained .* --apart-from") as refused:
        elsewhere(trained, data)
    assert "--force" in str(refused.value)
    assert "patients in CheXpert-v1.0-small are among" not in str(refused.value)
    assert not (trained.workspace.runs / trained.run / "external").exists()
    hearing = Hearing()
    forced = elsewhere(trained, data, force=True, reporter=hearing)
    assert forced.sets[0].result.protocol.trained_on
    assert not forced.internal.result.protocol.trained_on
    assert any(told in text and "too good" in text for text in hearing.warnings)


def test_a_copy_as_dicom_in_rsnas_layout_is_refused_by_its_pictures(trained, tmp_path):
    """There an image has a name of its own, and no patient is known."""
    split = pd.read_csv(trained.workspace.split)
    paths = split["path"][split["split"] == "train"].tolist()[:6]
    (tmp_path / "rsna" / "stage_2_train_images").mkdir(parents=True)
    for number, path in enumerate(paths):
        with Image.open(trained.data / path) as image:
            pixels = np.asarray(image.convert("L").resize((300, 300)))
        dicom(tmp_path / "rsna" / "stage_2_train_images" / f"{number}.dcm", pixels)
    table = pd.DataFrame({"patientId": range(6), "x": "", "y": "", "width": "", "height": ""})
    targets = [1, 0, 0, 1, 0, 1]
    table.assign(Target=targets).to_csv(tmp_path / "rsna" / "stage_2_train_labels.csv", index=False)
    with pytest.raises(DataError, match="6 of 6 images in rsna are pictures that the run was"):
        elsewhere(trained, tmp_path / "rsna")


def test_patients_of_the_same_register_are_refused_by_their_ids(trained, tmp_path):
    """The same drawn data set with other pictures under its patients' ids."""
    data = tmp_path / "data"
    shutil.copytree(trained.data.parent, data)
    place = next(data.rglob("train.csv")).parent
    rng = np.random.default_rng(0)
    for file in place.rglob("*.jpg"):
        noise = rng.integers(0, 256, (12, 12), dtype=np.uint8)
        Image.fromarray(noise).resize((200, 220)).save(file)
    table = pd.read_csv(place / "train.csv", dtype=str, keep_default_na=False)
    table.iloc[9:].to_csv(place / "train.csv", index=False)
    told = r"patients in .* are among those that the run was trained or chosen on \(patient"
    with pytest.raises(DataError, match=told):
        elsewhere(trained, place)


def test_a_set_without_a_label_in_common_is_refused(trained, nih, tmp_path):
    table = pd.DataFrame({"path": [f"images/{p.name}" for p in (nih / "images").iterdir()]})
    table = table.assign(patient_id=table["path"], Scoliosis=0)
    table.loc[0, "Scoliosis"] = 1
    workspace = Workspace(tmp_path / "ws")
    table.to_csv(nih.parent / "own.csv", index=False)
    prepare_manifest(
        PrepareConfig(
            data=nih.parent / "own.csv",
            format="csv",
            images=nih,
            label_columns="Scoliosis",
            workers=0,
            cache=False,
        ),
        workspace,
    )
    with pytest.raises(DataError, match=r"no label in common with the run: it has Scoliosis, and"):
        elsewhere(trained, workspace.folder)
    assert not (trained.workspace.runs / trained.run / "external").exists()


@pytest.mark.parametrize("kind", ["folder", "workspace"])
def test_half_of_the_images_missing_is_refused_and_nothing_is_written(trained, nih, tmp_path, kind):
    data = shutil.copytree(nih, tmp_path / "half")
    place = data
    if kind == "workspace":
        place = tmp_path / "ws"
        prepare_manifest(PrepareConfig(data=data, workers=0, cache=False), Workspace(place))
    images = sorted((data / "images").iterdir())
    for file in images[::2]:
        file.unlink()
    before = contents(trained.workspace.folder)
    told = rf"{len(images[::2])} of {len(images)} images are missing \((images/)?{images[0].name}"
    with pytest.raises(DataError, match=told):
        elsewhere(trained, place)
    assert contents(trained.workspace.folder) == before


def test_a_few_missing_images_are_left_out_with_a_count(trained, nih, tmp_path):
    data, hearing = shutil.copytree(nih, tmp_path / "most"), Hearing()
    images = sorted((data / "images").iterdir())
    images[0].unlink()
    (one,) = elsewhere(trained, data, reporter=hearing).sets
    assert one.unusable == 1
    assert one.result.n == len(images) - 1
    assert any("1 row of most left out" in text for text in hearing.warnings)
    assert any("1 row of most left out" in text for text in one.result.warnings)


def test_rows_of_other_views_are_counted(trained, tmp_path, drawn):
    data = shutil.copytree(drawn.folder, tmp_path / "CheXpert-v1.0-small")
    table = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    table = table.iloc[9:]
    table.to_csv(data / "train.csv", index=False)
    (one,) = elsewhere(trained, data, force=True).sets
    valid = pd.read_csv(data / "valid.csv", dtype=str, keep_default_na=False)
    lateral = pd.concat([table, valid])["Frontal/Lateral"].eq("Lateral").sum()
    assert one.other_views == lateral
    assert one.result.protocol.views == ("frontal",)


def test_a_workspace_of_other_views_than_the_runs_is_warned_of(trained, nih, tmp_path):
    workspace, hearing = Workspace(tmp_path / "ws"), Hearing()
    prepare_manifest(PrepareConfig(data=nih, workers=0, cache=False), workspace)
    table = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    table.loc[::2, "view"] = "lateral"
    table.to_csv(workspace.manifest, index=False)
    (one,) = elsewhere(trained, workspace.folder, reporter=hearing).sets
    told = "ws has lateral views, and tiny was trained on frontal ones"
    assert told in hearing.warnings
    assert told in one.result.warnings


def test_the_runs_own_data_are_refused(trained, tmp_path):
    for place in (trained.workspace.folder, trained.data):
        with pytest.raises(DataError, match="is what tiny was trained with"):
            elsewhere(trained, place)
    copy = copy_folder(trained.workspace.folder, tmp_path / "copy")
    with pytest.raises(DataError, match="is what tiny was trained with"):
        elsewhere(trained, copy)


def test_no_data_set_is_one_message(trained, nih, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data set found in"):
        elsewhere(trained, tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder, table or workspace"):
        elsewhere(trained, tmp_path / "nowhere")
    with pytest.raises(DataError, match="no mimic data in"):
        elsewhere(trained, nih, format="mimic")
    with pytest.raises(UsageError, match="given twice"):
        elsewhere(trained, nih, nih / ".." / "nih")
    assert not trained.workspace.external.exists()


def test_options_that_do_not_go_together(trained, nih, tmp_path):
    with pytest.raises(UsageError, match="--output: goes with --predictions"):
        elsewhere(trained, nih, output=tmp_path / "out")
    with pytest.raises(UsageError, match="--format nih is that of --data"):
        evaluate_run(EvaluateConfig(run="tiny", format="nih"), trained.workspace, seed=1)
    tables = EvaluateConfig(predictions=[tmp_path / "a.csv"], truth=tmp_path, data=[nih])
    with pytest.raises(UsageError, match="--data and --format are of a run"):
        evaluate_tables(tables, seed=1)


def test_without_the_training_workspace_the_external_scores_stand_alone(trained, nih, tmp_path):
    run = copy_folder(trained.workspace.runs / trained.run, tmp_path / "somewhere" / "tiny")
    place, hearing = tmp_path / "new", Hearing()
    away = replace(trained, workspace=Workspace(place), run=str(run))
    result = elsewhere(away, nih, reporter=hearing)
    assert result.internal is None
    assert result.sets[0].differences is None
    assert any("no scores on them stand beside" in text for text in hearing.warnings)
    assert (place / "external").is_dir()
    assert (run / "external").is_dir()


def test_a_test_part_that_was_trained_on_is_not_set_beside(trained, nih):
    split = pd.read_csv(trained.workspace.split, dtype=str)
    other = {"train": "test", "test": "train"}
    split.assign(split=split["split"].replace(other)).to_csv(trained.workspace.split, index=False)
    hearing = Hearing()
    assert elsewhere(trained, nih, reporter=hearing).internal is None
    assert any("no scores on the run's own data stand beside" in t for t in hearing.warnings)


def test_studies_are_scored_as_such(trained, nih):
    (one,) = elsewhere(trained, nih, unit="study").sets
    table = pd.read_csv(nih / "Data_Entry_2017.csv")
    assert one.result.unit == "study"
    assert one.result.n == len(table[["Patient ID", "Follow-up #"]].drop_duplicates())
