"""Exported models: what they say of themselves is bound to them and checked."""

import json
import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.json_files import seal_of
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.gui.model_card import facts_of_file
from cxrtool.inference.engines import exported as exported_module
from cxrtool.inference.engines import onnx_file as onnx_file
from cxrtool.inference.engines.exported import KEY, read_exported
from cxrtool.inference.scorer import load_model
from tests.conftest import Listening
from tests.support.ancestors import people_of
from tests.support.exporting import changed, scores

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:5]


def test_its_metadata_says_what_is_needed_and_nothing_of_patients(exported, trained_once):
    card = read_card(RunFolder(trained_once.workspace.runs / "tiny"))
    found = read_exported(exported.output)
    assert found.labels == card.labels
    assert found.thresholds == card.thresholds
    assert found.image_sizes == card.image_sizes
    assert found.about["weights_sha256"] == card.weights_sha256
    assert "not a medical device" in found.about["notice"]
    remark = found.about["sampling_remark"]
    assert "weighted sampling" in remark
    assert remark in facts_of_file(exported.output, found.about, "cpu").warnings
    listening = Listening()
    load_model(trained_once.workspace.runs, str(exported.output), reporter=listening)
    assert listening.warnings.count(remark) == 1
    content = exported.output.read_bytes()
    workspace = trained_once.workspace.folder
    private = [workspace, trained_once.data, Path(torch.__file__).parent, Path(__file__).parents[2]]
    ids = list(people_of(trained_once.workspace, "tiny")[0])[:3]
    for text in [*map(str, private), *ids, *list(card.train_patients)[:3]]:
        assert text.encode() not in content
    onnx.checker.check_model(onnx.load(exported.output))


class Harmful:
    """A pickle of it would write a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


@pytest.mark.parametrize("name", ["t.pt", "t.pkl", "t.onnx", "protocol0.onnx"])
def test_a_pickle_is_refused_and_not_opened(trained_once, images, tmp_path, name):
    if name == "t.pt":
        torch.save(Harmful(tmp_path / "ran"), tmp_path / name)
    else:
        protocol = 0 if name.startswith("protocol") else 4
        (tmp_path / name).write_bytes(pickle.dumps(Harmful(tmp_path / "ran"), protocol))
    with pytest.raises(RunError, match=r"pickle.*not opened|no ONNX file"):
        scores(trained_once, images, run=[str(tmp_path / name)])
    assert not (tmp_path / "ran").exists()


def test_other_files_are_told_apart(trained_once, images, tmp_path):
    plain = tmp_path / "plain.onnx"
    value = onnx.helper.make_tensor_value_info("x", 1, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", 1, [1])
    onnx.save_model(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [result])), plain
    )
    cases = {"plain.onnx": "none of cxrtool's", "empty.onnx": "none of cxrtool's"}
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, content in (("text.onnx", b"hello world"), ("noise.onnx", bytes(range(1, 200)))):
        (tmp_path / name).write_bytes(content)
        cases[name] = "no ONNX file"
    for name, message in cases.items():
        with pytest.raises(RunError, match=message):
            scores(trained_once, images, run=[str(tmp_path / name)])
    with pytest.raises(RunError, match="no such file"):
        scores(trained_once, images, run=[str(tmp_path / "gone.onnx")])


def test_an_exported_model_without_the_package_that_reads_it_says_what_to_install(
    exported, monkeypatch
):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"cxrtool\[cpu\]"):
        read_exported(exported.output)


def test_a_pipe_or_a_device_in_place_of_a_model_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "t.onnx")
    for path in (tmp_path / "t.onnx", Path("/dev/zero"), tmp_path):
        with pytest.raises(RunError, match="not a file"):
            read_exported(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"labels": ["Edema"]}, "gives .* labels"),
        ({"labels": ["Edema", "Edema"]}, "altered: labels: Edema occurs twice"),
        ({"labels": None}, "metadata was altered: labels is null"),
        ({"thresholds": {}}, "metadata was altered: thresholds lacks"),
        ({"thresholds": {"Edema": True}}, r"altered: thresholds\.Edema is true"),
        ({"thresholds": "x" * 10**6}, "metadata was altered: thresholds is"),
        ({"squish": [10**9]}, r"altered: squish\.0 is 1000000000"),
        ({"squish": [64]}, "cannot be loaded"),
    ],
)
def test_altered_metadata_is_noticed(exported, tmp_path, change, message):
    """Both where its fingerprint is made anew, as by its author, and where it is not."""

    def alter(model, seal):
        entry = next(one for one in model.metadata_props if one.key == KEY)
        about = {**json.loads(entry.value), **change}
        entry.value = json.dumps({**about, "sealed": seal(about)})

    for number, seal in enumerate((seal_of, lambda about: about["sealed"])):
        path = changed(exported, tmp_path / f"{number}.onnx", partial(alter, seal=seal))
        with pytest.raises(RunError, match=message if seal is seal_of else "altered|format 2"):
            read_exported(path)


@pytest.mark.parametrize(
    ("key", "value"), [("thresholds", 0.125), ("squish", [64, 32]), ("calibration", {"a": 1})]
)
def test_plausible_values_in_the_metadata_are_under_a_fingerprint(exported, tmp_path, key, value):
    def alter(model):
        entry = next(one for one in model.metadata_props if one.key == KEY)
        about = json.loads(entry.value)
        new = dict.fromkeys(about["labels"], value) if key == "thresholds" else value
        entry.value = json.dumps({**about, key: new})

    with pytest.raises(RunError, match=r"altered since it was exported \(`sealed`\)"):
        read_exported(changed(exported, tmp_path / "t.onnx", alter))


def test_a_file_of_version_0_1_is_read_and_what_it_lacks_is_said(
    exported, trained_once, images, tmp_path
):
    def unseal(model):
        entry = next(one for one in model.metadata_props if one.key == KEY)
        about = json.loads(entry.value)
        del about["sealed"], about["sampling_remark"]  # neither was there
        entry.value = json.dumps(about)

    path = changed(exported, tmp_path / "old.onnx", unseal)
    reporter = Listening()
    found = scores(trained_once, images[:1], reporter=reporter, run=[str(path)])
    assert len(found.rows) == 1
    [said] = reporter.warnings
    assert "exported by version 0.1, without a fingerprint of its labels and thresholds" in said


def test_a_file_that_is_cut_short_anywhere_is_one_message(exported, trained_once, images, tmp_path):
    content = exported.output.read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "t.onnx"
    for end in rng.integers(1, len(content), 20):
        path.write_bytes(content[:end])
        with pytest.raises(RunError):
            scores(trained_once, images[:1], run=[str(path)], engine="onnxruntime")


def test_what_an_exported_model_cannot_do_is_said(exported, trained_once, images, monkeypatch):
    run = [str(exported.output)]
    for options, message in (
        ({"engine": "torch"}, "needs the run"),
        ({"heatmaps": Path("maps")}, "exported model"),
    ):
        with pytest.raises(UsageError, match=message):
            scores(trained_once, images, run=run, **options)
    monkeypatch.setattr(exported_module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"cxrtool\[cpu\]"):
        scores(trained_once, images, run=run)


def test_a_weight_that_was_changed_on_the_way_is_noticed(exported, trained_once, images, tmp_path):
    content = bytearray(exported.output.read_bytes())
    content[len(content) // 2] ^= 0x40  # in the middle of the weights
    (tmp_path / "t.onnx").write_bytes(content)
    with pytest.raises(RunError, match="not as it was exported"):
        scores(trained_once, images, run=[str(tmp_path / "t.onnx")])
