"""Exported models: what is in the file, what it is held against, and which files are not opened."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec as find_spec_really
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrtool.core.config import ExportConfig, PredictConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.json_files import seal_of
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.evaluation.calibration import fit
from cxrtool.gui.model_card import facts_of_file
from cxrtool.images.reading import load_pixels
from cxrtool.inference.engines import exported as exported_module
from cxrtool.inference.engines import onnx_file as onnx_file
from cxrtool.inference.engines.exported import KEY, read_exported
from cxrtool.inference.scorer import load_model
from cxrtool.workflows import export as workflow
from cxrtool.workflows.export import export_run
from cxrtool.workflows.predict import predict_images
from tests.conftest import Listening
from tests.support.sealing import change_thresholds

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")


@pytest.fixture(scope="session")
def exported(trained_once, tmp_path_factory):
    """The result of an export of the tiny run."""
    output = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    return export_run(ExportConfig(output=output), trained_once.workspace)


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:5]


def scores(trained, inputs, reporter=SILENT, **options):
    config = PredictConfig(device="cpu", precision="fp32", workers=0, **options)
    names = [str(path) for path in inputs]
    return predict_images(config, names, trained.workspace, reporter)


def test_it_is_checked_on_real_images_of_the_valid_part(exported, trained_once):
    assert exported.images == 16
    assert 0 <= exported.difference < 1e-4
    assert exported.bytes == exported.output.stat().st_size
    json.dumps(exported.as_json(), allow_nan=False)


@pytest.mark.parametrize("batch", [1, 5])
def test_anybody_can_run_it_on_grey_bytes(exported, trained_once, images, batch):
    session = onnxruntime.InferenceSession(exported.output, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["images"]
    pixels = np.stack([load_pixels(path, 32) for path in images])
    parts = [pixels[at : at + batch] for at in range(0, len(pixels), batch)]
    found = np.concatenate([session.run(["probabilities"], {"images": part})[0] for part in parts])
    expected = scores(trained_once, images, engine="torch").table[list(exported.labels)]
    assert np.abs(found - expected.to_numpy()).max() < 1e-4


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_predict_scores_with_it_as_with_the_run(exported, trained_once, images, engine):
    pytest.importorskip(engine)
    ours = scores(trained_once, images, engine="torch")
    theirs = scores(trained_once, images, engine=engine, run=[str(exported.output)])
    assert theirs.engine == {"name": engine, "device": "cpu", "precision": "fp32"}
    labels = list(ours.labels)
    assert np.abs(ours.table[labels] - theirs.table[labels]).to_numpy().max() < 1e-4
    assert theirs.thresholds == ours.thresholds
    assert theirs.table["positive"].tolist() == ours.table["positive"].tolist()


@pytest.mark.slow
def test_predict_with_it_needs_no_torch(exported, trained_once, images):
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'fastai', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "from cxrtool.cli.app import app\n"
        f"app(['predict', {str(images[0])!r}, '--run', {str(exported.output)!r}],"
        " standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "probability" in done.stdout


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
    for text in [*map(str, private), *list(card.train_patients)[:3]]:
        assert text.encode() not in content
    onnx.checker.check_model(onnx.load(exported.output))


def test_a_calibration_goes_with_it(trained, images, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    rng = np.random.default_rng(1)
    probability = rng.uniform(0.05, 0.95, 400)
    fitted = fit("temperature", rng.random(400) < probability**2, probability, np.ones(400, bool))
    curve = fitted.as_json()
    kept = {"method": "temperature", "labels": {"Edema": curve}, "left_out": {}}
    change_thresholds(run, calibration=kept)
    output = tmp_path / "t.onnx"
    export_run(ExportConfig(output=output), trained.workspace)
    ours = scores(trained, images, engine="torch")
    theirs = scores(trained, images, engine="onnxruntime", run=[str(output)])
    plain = read_exported(output).thresholds
    assert ours.thresholds["Edema"] != plain["Edema"]
    assert theirs.thresholds == ours.thresholds
    labels = list(ours.labels)
    assert np.abs(ours.table[labels] - theirs.table[labels]).to_numpy().max() < 1e-4


def test_a_graph_that_gives_other_probabilities_is_not_written(trained_once, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "_largest_difference", lambda *_: 2e-4)
    output = tmp_path / "t.onnx"
    with pytest.raises(RunError, match=r"2.0e-04 apart.*not written"):
        export_run(ExportConfig(output=output), trained_once.workspace)
    assert list(tmp_path.iterdir()) == []


def test_a_difference_is_one_and_no_number_is_none(exported, trained_once, images):
    run = RunFolder(trained_once.workspace.runs / "tiny")
    pixels = np.stack([load_pixels(path, 32) for path in images])
    card = read_card(run)
    same = workflow._largest_difference(exported.output, run, card, pixels)
    assert same < 1e-4
    other = replace(card, pixel_mean=card.pixel_mean + 0.05)
    assert workflow._largest_difference(exported.output, run, other, pixels) > 1e-4


def test_images_to_check_on_are_the_users_where_the_data_are_gone(trained, images, tmp_path):
    trained.workspace.manifest.unlink()
    output = tmp_path / "t.onnx"
    with pytest.raises(RunError, match="--check FILE or FOLDER"):
        export_run(ExportConfig(output=output), trained.workspace)
    done = export_run(ExportConfig(output=output, check=images[:2]), trained.workspace)
    assert done.images == 2
    with pytest.raises(DataError, match="--force"):
        export_run(ExportConfig(output=output, check=images[:2]), trained.workspace)
    config = ExportConfig(output=output, check=[tmp_path / "gone.jpg"], force=True)
    with pytest.raises(DataError, match=r"gone.jpg"):
        export_run(config, trained.workspace)
    assert read_exported(output).labels == done.labels  # the older one is still there


def test_what_it_needs_is_named(trained_once, tmp_path, monkeypatch):
    monkeypatch.setattr(
        workflow, "find_spec", lambda name: None if name == "onnxscript" else find_spec_really(name)
    )
    with pytest.raises(UsageError, match=r"needs onnxscript: .*cxrtool\[export\]"):
        export_run(ExportConfig(output=tmp_path / "t.onnx"), trained_once.workspace)
    with pytest.raises(UsageError, match=r"end it in \.onnx"):
        export_run(ExportConfig(output=tmp_path / "t.pt"), trained_once.workspace)


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


def changed(exported, path, change):
    model = onnx.load(exported.output)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def outside(location="weights.bin"):
    """A tensor whose values are in another file."""
    tensor = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def constant(**values):
    return onnx.helper.make_node("Constant", [], ["c"], **values)


def sparse():
    indices = onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [0])
    return onnx.helper.make_sparse_tensor(outside(), indices, [1])


def in_an_initializer(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.MergeFrom(outside("../../../etc/passwd"))


def without_a_location(model):
    del model.graph.initializer[0].external_data[:]
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def with_the_location_as_the_only_sign(model):
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def in_an_attribute(model):
    model.graph.node.append(constant(value=outside("/etc/passwd")))


def in_a_list_of_tensors(model):
    node = constant(value_float=1.0)
    attribute = node.attribute.add(name="several", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(outside())
    model.graph.node.append(node)


def in_a_sparse_attribute(model):
    model.graph.node.append(constant(sparse_value=sparse()))


def in_a_sparse_initializer(model):
    model.graph.sparse_initializer.append(sparse())


def in_a_graph_within_the_graph(model):
    inner = onnx.helper.make_graph([constant(value=outside())], "inner", [], [])
    node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    model.graph.node.append(node)


def in_a_function(model):
    function = model.functions.add(name="f", domain="d")
    function.node.append(constant(value=outside()))


def in_the_training(model):
    model.training_info.add().algorithm.initializer.append(outside())


@pytest.mark.parametrize(
    "hide",
    [
        *(in_an_initializer, without_a_location, with_the_location_as_the_only_sign),
        *(in_an_attribute, in_a_list_of_tensors, in_a_sparse_attribute, in_a_sparse_initializer),
        *(in_a_graph_within_the_graph, in_a_function, in_the_training),
    ],
)
def test_weights_in_other_files_are_not_looked_for(exported, tmp_path, hide):
    path = changed(exported, tmp_path / "t.onnx", hide)
    with pytest.raises(RunError, match="weights in other files"):
        read_exported(path)


def another_version_of_the_format(model):
    model.opset_import[0].version -= 1


def a_function_of_its_own(model):
    function = model.functions.add(name="f", domain="d")
    function.node.append(constant(value_float=1.0))


@pytest.mark.parametrize("change", [another_version_of_the_format, a_function_of_its_own])
def test_what_says_how_a_graph_is_computed_is_bound_too(exported, tmp_path, change):
    path = changed(exported, tmp_path / "t.onnx", change)
    with pytest.raises(RunError, match="not as it was exported"):
        read_exported(path)


def varint(number, length=0):
    """A protobuf integer, in more bytes than it needs if `length` says so."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F)
    groups += [0] * (length - len(groups))
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def message(number, content, *, tag):
    """A field of bytes whose key is written in `tag` bytes, or with bits beyond the 32 of one."""
    key = number << 3 | 2
    written = varint(key | 1 << 35) if tag == "beyond" else varint(key, tag)
    return written + varint(len(content)) + content


@pytest.mark.parametrize("tag", [1, 2, 3, 5, 10, "beyond"])
def test_a_tag_written_strangely_hides_nothing(exported, tmp_path, monkeypatch, tag):
    """An initializer that one parser skips and another reads: from bytes beside the file."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load(exported.output)
    replaced = next(one for one in model.graph.initializer if one.name.endswith("fc.bias"))
    (tmp_path / "secret.bin").write_bytes(bytes(range(1, 4 * len(replaced.raw_data))))
    hidden = onnx.TensorProto.FromString(replaced.SerializeToString())
    hidden.ClearField("raw_data")
    hidden.data_location = onnx.TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="secret.bin")
    model.graph.initializer.remove(replaced)
    graph = model.graph.SerializeToString() + message(5, hidden.SerializeToString(), tag=tag)
    entry = next(one for one in model.metadata_props if one.key == KEY)
    about = {**json.loads(entry.value), "graph_sha256": hashlib.sha256(graph).hexdigest()}
    del about["model_sha256"]  # as of a file of version 0.1
    entry.value = json.dumps({**about, "sealed": seal_of(about)})
    model.ClearField("graph")
    path = tmp_path / "t.onnx"
    path.write_bytes(model.SerializeToString() + message(7, graph, tag=1))
    with pytest.raises(RunError, match=r"weights in other files|no ONNX file|not as it was"):
        read_exported(path)


def test_what_a_parser_does_not_know_never_reaches_an_engine(exported, tmp_path):
    unknown = message(5000, b"for another reader", tag=3)
    path = tmp_path / "t.onnx"
    path.write_bytes(exported.output.read_bytes() + unknown)
    card = read_exported(path)
    assert b"for another reader" in path.read_bytes()
    assert b"for another reader" not in card.graph.model


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


def test_a_run_comes_before_a_file_of_its_name_in_the_users_folder(
    exported, trained_once, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_bytes(exported.output.read_bytes())
    found = scores(trained_once, images[:1], run=["tiny"], engine="torch")
    assert (found.model, found.engine["name"]) == ("tiny", "torch")
    found = scores(trained_once, images[:1], run=["./tiny"], engine="onnxruntime")
    assert found.engine["name"] == "onnxruntime"


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


def test_a_run_and_an_exported_model_are_an_ensemble(exported, trained, images, tmp_path):
    shutil.copy(exported.output, tmp_path / "other.onnx")
    both = scores(trained, images, run=["tiny", str(tmp_path / "other.onnx")], engine="auto")
    alone = scores(trained, images, engine="torch")
    labels = list(alone.labels)
    assert both.model == "tiny + other.onnx"
    assert np.abs(both.table[labels] - alone.table[labels]).to_numpy().max() < 1e-4


def test_the_whole_chain_from_a_file_is_the_runs(exported, trained_once, tmp_path):
    deep = np.linspace(0, 4095, 90 * 70).reshape(90, 70).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = scores(trained_once, [tmp_path / "deep.png"], run=[str(exported.output)]).table
    expected = scores(trained_once, [tmp_path / "deep.png"], engine="torch").table
    labels = list(exported.labels)
    assert np.abs(found[labels] - expected[labels]).to_numpy().max() < 1e-4


def test_a_weight_that_was_changed_on_the_way_is_noticed(exported, trained_once, images, tmp_path):
    content = bytearray(exported.output.read_bytes())
    content[len(content) // 2] ^= 0x40  # in the middle of the weights
    (tmp_path / "t.onnx").write_bytes(content)
    with pytest.raises(RunError, match="not as it was exported"):
        scores(trained_once, images, run=[str(tmp_path / "t.onnx")])
