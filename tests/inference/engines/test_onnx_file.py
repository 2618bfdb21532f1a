"""What an ONNX file may hold before an engine sees it."""

import hashlib
import json

import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.json_files import seal_of
from cxrtool.inference.engines.exported import KEY, read_exported
from tests.support.exporting import changed

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")


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
