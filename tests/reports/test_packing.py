"""What of a run goes into a pack, and what does not."""

import json
import re

import pytest

from cxrtool.core.files import sha256
from cxrtool.core.packs import MANIFEST, NAMES
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.yaml_files import read_yaml
from cxrtool.reports.packing import OWN, packed_scores, write_pack
from tests.support.packing import private_words, score
from tests.support.sealing import change_model, change_thresholds


def read(path):
    return json.loads(path.read_text())


def test_a_pack_holds_what_scoring_needs_and_names_nobody(trained, tmp_path):
    score(trained)
    run = RunFolder(trained.workspace.runs / "tiny")
    (tmp_path / "pack").mkdir()
    facts = write_pack(run, tmp_path / "pack")
    pack = RunFolder(tmp_path / "pack")
    found = {path.relative_to(pack.path).as_posix() for path in pack.path.rglob("*.*")}
    expected = {name for name in NAMES if not name.startswith("metrics/")}
    assert found == {MANIFEST, *expected, "metrics/test.json"}
    assert facts.sha256 == {name: sha256(pack.path / name) for name in found - {MANIFEST}}
    contents = {path: path.read_bytes() for path in pack.path.rglob("*.*")}
    words = private_words(trained)
    assert len(words) > 100
    for word in words:
        for path, content in contents.items():
            assert word.encode() not in content, (path.name, word)
    for path, content in contents.items():
        if path.suffix != ".safetensors":
            assert not re.search(rb"/(home|root|tmp|dev|work|Users)/|[A-Z]:\\", content), path.name
    own, packed = read_card(run), read_card(pack)
    for name in ("labels", "thresholds", "calibration", "weights_sha256", "cohort", "image_sizes"):
        assert getattr(packed, name) == getattr(own, name), name
    assert packed.packed
    assert packed.train_patients == frozenset()
    assert not packed.has_pictures


def test_files_and_texts_that_may_name_a_person_stay(trained, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    settings = run.config.read_text().replace("weights: none", "weights: Mr_Smith.pt@sha256:ab")
    settings = settings.replace("recipe: report\n", "recipe: for_mr_smith\n")
    run.config.write_text(settings + "note: of Smith\n")
    change_model(
        run,
        weights_from="Mr_Smith.pt (SHA-256 ab)",
        recipe="for_mr_smith",
        data={
            "origin": "own",
            "description": "smith.csv",
            "labels_by": {"train": "whoever made smith.csv"},
            "layout": "csv",
        },
    )
    label = read_card(run).labels[0]
    change_thresholds(run, without={label: "valid has 3 patients with a positive (Smith)"})
    (tmp_path / "pack").mkdir()
    write_pack(run, tmp_path / "pack")
    pack = RunFolder(tmp_path / "pack")
    for path in pack.path.glob("*.*"):
        assert b"mith" not in path.read_bytes(), path.name
    assert "weights" not in read_yaml(pack.config)
    assert read(pack.model)["data"]["description"] == OWN
    assert not any(character.isdigit() for character in read_card(pack).without[label])


def scores(**changed):
    """What a file of metrics holds, as far as it matters here."""
    large = {"auroc": 0.9, "auroc_ci": [0.8, 1.0], "n": 100, "positives": 40, "too_few": False}
    found = {
        "mean_auroc": 0.9,
        "n": 200,
        "patients": 150,
        "data": {"origin": "own", "description": "smith.csv"},
        "protocol": {
            "name": "holdout",
            "labels_by": "whoever made smith.csv",
            "views": ["frontal"],
        },
        "labels": {
            "Edema": {**large, "positive_patients": 30, "worst": [{"path": "patient1/a.jpg"}]},
            "Fracture": {**large, "positives": 9, "positive_patients": 9},
            "Pneumonia": {**large, "positives": 91, "positive_patients": 80},
        },
        "subgroups": {
            "sex": {
                "groups": {
                    "Female": {"n": 100, "patients": 80, "labels": {"Edema": large}},
                    "Male": {"n": 9, "patients": 9, "labels": {"Edema": large}},
                    "Other": {
                        "n": 50,
                        "patients": 40,
                        "labels": {"Edema": {**large, "too_few": True}, "Pneumonia": large},
                    },
                },
                "gaps": {"Edema": {"auroc": {"lowest": "Male"}}},
            }
        },
        "warnings": ["patient1 was seen"],
        "failures": [{"path": "patient1/a.jpg"}],
    }
    return {**found, **changed}


def test_scores_leave_without_small_groups_and_without_texts():
    found = packed_scores(scores())
    assert "patient1" not in json.dumps(found)
    assert "mith" not in json.dumps(found)
    assert found["labels"]["Edema"]["auroc"] == 0.9
    # Nine positive patients, and nine negative images.
    assert found["labels"]["Fracture"] == found["labels"]["Pneumonia"] == {}
    groups = found["subgroups"]["sex"]["groups"]
    assert {name: list(one["labels"]) for name, one in groups.items()} == {
        "Female": ["Edema"],
        "Other": ["Pneumonia"],
    }
    assert found["left_out"] == {"labels": 2, "groups": 2}
    assert found["mean_auroc"] == 0.9


@pytest.mark.parametrize("kind", ["chexpert", "drawn"])
def test_published_data_are_named(kind):
    data = {"origin": kind, "description": "as published"}
    found = packed_scores(scores(data=data))
    assert found["data"] == data
    assert found["protocol"]["labels_by"] == "whoever made smith.csv"
