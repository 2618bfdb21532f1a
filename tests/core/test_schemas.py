"""Each file of a run, damaged or altered: one message that names file and key, and no score."""

import io
import json
import os
import re
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, RunError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import FORMAT, read_json, seal_of, write_json
from cxrtool.core.run_cards import read_card, remarks
from cxrtool.core.runs import RunFolder, find_run
from cxrtool.core.workspace import Workspace
from cxrtool.evaluation.run_part import choose_part
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.runs import list_runs
from tests.conftest import Listening
from tests.support.sealing import change_model

FILES = ("model.json", "labels.json", "thresholds.json", "patients.json")
STRANGE = {
    "null": None,
    "true": True,
    "text": "0.5",
    "long text": "x" * 2_000_000,
    "many digits": 10**4000,
    "huge": 1e300,
    "negative": -5,
    "a billion": 10**9,
    "a list": [[]],
    "an object": {"a": {"b": 1}},
}
BYTES = {
    "nothing": b"",
    "half": b'{"format": 1, "arch',
    "a list": b"[1, 2]",
    "deep": b'{"format": 1, "a": ' + b"[" * 100_000,
    "deep and whole": b'{"format": 1, "a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "digits": b'{"format": 1, "fold": ' + b"9" * 5000 + b"}",
    "no text": b"\xff\xfe\x00",
    "another format": b'{"format": 2}',
}


@pytest.fixture
def run(trained_once, tmp_path):
    """The run's small files, and the large ones by another name."""
    source = RunFolder(trained_once.workspace.runs / trained_once.run)
    folder = tmp_path / "cxr" / "runs" / "tiny"
    folder.mkdir(parents=True)
    for path in source.path.iterdir():
        if path.is_file() and path.suffix == ".json":
            shutil.copy(path, folder)
    for path in source.path.glob("*.safetensors"):
        os.link(path, folder / path.name)
    return RunFolder(folder)


def refused(run, name, *said):
    """The one message, which names the file; its hashes and its length are nobody's concern."""
    with pytest.raises(RunError) as raised:
        read_card(run)
    message = str(raised.value)
    assert f"{run.path / name}" in message, message
    assert "\n" not in message
    assert len(message) < 1000
    for word in said:
        assert word in message, message
    return message


def test_a_run_as_training_wrote_it_is_read_and_nothing_is_said_of_it(run):
    assert remarks(run, read_card(run)) == ()


@pytest.mark.parametrize("name", FILES)
def test_strange_values_of_each_key_are_refused_with_file_and_key(run, name):
    values = read_json(run.path / name)
    for key in values:
        if key == "format":
            continue
        for strange in STRANGE.values():
            (run.path / name).write_text(json.dumps({**values, key: strange}))
            if strange is None and values[key] is None:
                continue
            message = refused(run, name)
            # A value that could be one is caught by the fingerprint over all of them.
            assert any(one in message for one in (key, "`sealed`", "SHA-256")), message
        (run.path / name).write_text(json.dumps({k: v for k, v in values.items() if k != key}))
        refused(run, name)
    (run.path / name).write_text(json.dumps({**values, "besides": 1}))
    refused(run, name, "besides is not a key of this version")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", BYTES)
def test_damaged_json_is_refused_with_the_files_name(run, name, damage):
    (run.path / name).write_bytes(BYTES[damage])
    message = refused(run, name)
    assert not re.search(r"recursion|sys\.", message), "said to users, not to programmers"


@pytest.mark.parametrize("name", [*FILES, "model.safetensors", "pictures.safetensors"])
def test_a_pipe_or_a_folder_in_a_files_place_is_refused_at_once(run, name):
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    with pytest.raises(RunError, match=name):
        read_card(run)
    (run.path / name).unlink()
    (run.path / name).mkdir()
    with pytest.raises(RunError, match=name):
        read_card(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("pixel_mean", 0.25), ("pixel_std", 0.75), ("drop_rate", 0.5), ("fold", 1)),
        *(("manifest_sha256", "0" * 64), ("split_sha256", "0" * 64), ("arch", "resnet34")),
        *(("finished", "2030-01-01T00:00:00+00:00"), ("valid_mean_auroc", 0.999)),
    ],
)
def test_an_edit_of_model_json_that_is_a_plausible_value_is_noticed(run, key, value):
    values = read_json(run.model)
    assert values[key] != value
    run.model.write_text(json.dumps({**values, key: value}))
    refused(run, "model.json", "was edited since training wrote it")
    run.model.write_text(json.dumps({**values, key: value, "sealed": None}))
    refused(run, "model.json", "was edited since training wrote it")


def test_image_sizes_that_agree_with_each_other_are_under_the_seal_too(run):
    values = {**read_json(run.model), "image_size": 64, "squish": [64]}
    run.model.write_text(json.dumps(values))
    refused(run, "model.json", "was edited since training wrote it")


def test_another_layout_of_the_same_json_is_the_same_file(run):
    for path in (run.model, run.thresholds):
        values = read_json(path)
        path.write_text(json.dumps(dict(reversed(values.items()))))
    assert remarks(run, read_card(run)) == ()


def test_labels_twice_are_refused_whatever_fingerprint_they_have(run):
    values = read_json(run.labels)
    run.labels.write_text(json.dumps({**values, "labels": [*values["labels"], "Edema"]}))
    change_model(run)
    refused(run, "labels.json", "labels", "Edema occurs twice")


def test_labels_in_another_order_are_not_those_that_training_wrote(run):
    values = read_json(run.labels)
    run.labels.write_text(json.dumps({**values, "labels": values["labels"][::-1]}))
    refused(run, "labels.json", "SHA-256")


def test_thresholds_edited_by_hand_count_and_are_said_aloud(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    values = read_json(run.thresholds)
    values["thresholds"] |= {"Edema": 0.125, "Fracture": None}
    run.thresholds.write_text(json.dumps(values))
    card = read_card(run)
    assert (card.thresholds["Edema"], card.thresholds["Fracture"]) == (0.125, None)
    [said] = remarks(run, card)
    edited = [one for one in card.labels if values["operating_points"]["youden"][one] is not None]
    assert card.edited == tuple(one for one in edited if one in ("Edema", "Fracture"))
    assert f"edited by hand for {', '.join(card.edited)}" in said
    assert "--operating-point youden --keep" in said
    reporter = Listening()
    part = choose_part(run, EvaluateConfig(run="tiny"), trained.workspace, reporter)
    assert said in part.warnings
    assert said in reporter.warnings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("operating_point", "f1"),
        ("chosen_on", "test"),
        ("operating_points", {}),
        ("calibration", {"method": "platt", "labels": {}, "left_out": {}}),
    ],
)
def test_an_edit_of_thresholds_json_besides_the_thresholds_is_noticed(run, key, value):
    values = read_json(run.thresholds)
    assert values[key] != value
    run.thresholds.write_text(json.dumps({**values, key: value}))
    refused(run, "thresholds.json", "edited", "in more than its `thresholds`")
    del values["sealed"]
    run.thresholds.write_text(json.dumps({**values, key: value}))
    refused(run, "thresholds.json", "`sealed` is missing")


def test_thresholds_of_another_run_are_refused(run):
    values = {**read_json(run.thresholds), "weights_sha256": "0" * 64}
    run.thresholds.write_text(
        json.dumps({**values, "sealed": seal_of(values, ["thresholds"])}, indent=1)
    )
    refused(run, "thresholds.json", "is of another run")


def test_a_run_of_version_0_1_is_read_and_what_it_lacks_is_said(run):
    model, thresholds = read_json(run.model), read_json(run.thresholds)
    for key in ("sealed", "identity"):
        del model[key]
    run.model.write_text(json.dumps({**model, "finished": "2026-01-01T00:00:00+00:00"}))
    for key in ("sealed", "weights_sha256"):
        del thresholds[key]
    run.thresholds.write_text(json.dumps(thresholds))
    card = read_card(run)
    assert not card.sealed
    [said] = remarks(run, card)
    assert "model.json is of version 0.1 and has no fingerprint of its own" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [("dataset", None), ("folder", 3), ("labels_by", [1]), ("asked", {"columns": 5})],
)
def test_an_altered_data_json_is_named_with_its_key(prepared, key, value):
    values = read_json(prepared.data_info)
    prepared.data_info.write_text(json.dumps({**values, key: value}))
    with pytest.raises(DataError) as raised:
        prepared.read_data_info()
    assert str(raised.value).startswith(f"{prepared.data_info}: {key}")
    assert str(raised.value).endswith("prepare again")


def finished(runs, name, at, file_time):
    run = RunFolder(runs / name)
    run.path.mkdir(parents=True)
    values = {"format": FORMAT} | ({} if at is None else {"finished": at})
    run.model.write_text(json.dumps(values))
    os.utime(run.model, (file_time, file_time))


def test_the_default_run_is_the_one_that_finished_last_whatever_the_files_times_are(tmp_path):
    finished(tmp_path, "first", "2026-01-01T00:00:00+00:00", 2_000_000_002)
    finished(tmp_path, "last", "2026-01-01T02:00:00.001+02:00", 2_000_000_000)
    finished(tmp_path, "earlier", "2025-01-01T00:00:00+00:00", 2_000_000_003)
    assert find_run(tmp_path, None).name == "last"
    finished(tmp_path, "undated", None, 2_000_000_001)
    assert find_run(tmp_path, None).name == "undated"
    finished(tmp_path, "broken", 5, 1)
    assert find_run(tmp_path, None).name == "undated"


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_a_run_that_finished_in_no_year_is_listed_by_its_files_time(tmp_path, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for at in ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "0001-01-01"):
            name = at[:4] + str(len(at))
            finished(tmp_path / "runs", name, at, 1_700_000_000)
        assert len(list_runs(Workspace(tmp_path))) == 3
    finally:
        monkeypatch.undo()
        time.tzset()


def evaluate(trained, reporter, **options):
    values = {"run": "tiny", "bootstrap": 0, "report": False, "workers": 0, "device": "cpu"}
    values["precision"] = "fp32"  # as the run was trained: in bf16 ranks of so few images differ
    config = EvaluateConfig(**{**values, **options})
    return evaluate_run(config, trained.workspace, seed=1, reporter=reporter)


def test_predictions_are_scored_and_chosen_on_only_where_they_are_of_the_runs_weights(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    reporter = Listening()
    own = {split: evaluate(trained, reporter, split=split).labels for split in ("test", "valid")}
    assert not [one for one in reporter.warnings if "not known" in one]
    table = {split: run.predictions(split).read_bytes() for split in ("test", "valid")}
    facts = {split: read_json(run.predictions_facts(split)) for split in ("test", "valid")}

    def foreign(split):
        """Another run's: all scores turned round."""
        frame = pd.read_csv(run.predictions(split), keep_default_na=False)
        labels = list(own[split])
        frame[labels] = 1 - frame[labels]
        frame.to_csv(run.predictions(split), index=False)

    def edited(split):
        values = {**facts[split], "weights_sha256": "0" * 64}
        write_json(run.predictions_facts(split), values)

    def of_other_weights(split):
        foreign(split)
        values = {"weights_sha256": "0" * 64, "sha256": sha256(run.predictions(split))}
        write_json(run.predictions_facts(split), {**values, "sealed": seal_of(values)})

    def unbound(split):
        foreign(split)
        run.predictions_facts(split).unlink(missing_ok=True)

    for damage, said in (
        (foreign, "edited or replaced"),
        (edited, "was edited"),
        (of_other_weights, "other weights"),
        (unbound, "is missing"),
    ):
        damage("valid")
        with pytest.raises(RunError, match=f"{said}.*evaluate tiny --split valid"):
            evaluate(trained, SILENT, operating_point="f1", keep=True)
        damage("test")
        reporter = Listening()
        assert evaluate(trained, reporter, split="test").labels == own["test"]
        assert any("scoring again" in one and said in one for one in reporter.warnings)
        assert run.predictions("test").read_bytes() == table["test"]
        assert read_json(run.predictions_facts("test")) == facts["test"]
    # Valid was scored by training, in other batches: sums are rounded by the batch, and what lies
    # at a threshold may fall on its other side.
    labels = list(evaluate(trained, SILENT, split="valid").labels)
    again = pd.read_csv(run.predictions("valid"))[labels]
    before = pd.read_csv(io.BytesIO(table["valid"]))[labels]
    assert np.abs(again - before).to_numpy().max() < 1e-4
    assert read_card(run).operating_point == "youden"


def test_predictions_of_a_run_of_version_0_1_are_scored_and_it_is_said(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    model = read_json(run.model)
    for key in ("sealed", "identity"):
        del model[key]
    write_json(run.model, model)
    run.predictions_facts("valid").unlink()
    reporter = Listening()
    evaluate(trained, reporter, split="valid")
    assert any("nothing says of which weights it is" in one for one in reporter.warnings)
