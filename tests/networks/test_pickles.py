"""Pickled networks are read without running anything, and never outside their storages."""

import argparse
import builtins
import collections
import functools
import os
import pickle
import struct
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from cxrtool.core.errors import WeightsError
from cxrtool.networks.pickles import Unbuilt, read_inert, walk

FORMS = ["zip", "legacy"]


def written(path, content, form="zip"):
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


def tensors(path):
    return dict(walk(read_inert(path), 20))


class Labelled(nn.Module):
    """A network as a file may hold it, of a class that nobody else has."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU())
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("flag", torch.tensor([True, False]))
        self.register_buffer("short", torch.randn(3, 2).to(torch.bfloat16).T)
        self.register_buffer("nothing", None)
        self.pathologies = ["Edema", "", "Mass"]


@pytest.mark.parametrize("form", FORMS)
def test_all_tensors_of_a_pickled_network_come_back_bit_by_bit(tmp_path, form):
    network = models.densenet121(weights=None)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
    found = tensors(written(tmp_path / "w.pt", network, form))
    expected = network.state_dict()
    assert len(expected) == 727
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("form", FORMS)
def test_odd_tensors_and_lists_of_words_are_read_without_their_class(tmp_path, form, monkeypatch):
    network = Labelled()
    path = written(tmp_path / "w.pt", {"model": network, "epoch": 3}, form)
    monkeypatch.delitem(globals(), "Labelled")  # whoever reads it does not have the class
    root = read_inert(path)
    found = dict(walk(root, 20))
    for key, value in network.state_dict().items():
        assert torch.equal(found[f"model.{key}"], value)
        assert found[f"model.{key}"].dtype == value.dtype
    assert isinstance(root["model"], Unbuilt)
    assert root["model"].words()["pathologies"] == ("Edema", "", "Mass")
    assert root["epoch"] == 3


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_numpy_and_other_harmless_objects_lie_beside_the_tensors(tmp_path, form):
    content = {
        "model": {"w": torch.arange(6.0).reshape(2, 3)[:, 1:]},
        "best": np.float64(0.9),
        "curve": np.arange(3),
        "args": argparse.Namespace(lr=0.1),
        "optimizer": collections.defaultdict(dict, {"a": {"step": torch.ones(2)}}),
        "layer": functools.partial(nn.LayerNorm, eps=1e-6),
    }
    found = tensors(written(tmp_path / "w.pt", content, form))
    assert torch.equal(found["model.w"], content["model"]["w"])
    assert torch.equal(found["optimizer.a.step"], torch.ones(2))


def test_shared_tensors_stay_shared_and_one_that_holds_itself_ends(tmp_path):
    weight = torch.randn(4)
    holder = {"a": weight, "b": weight[1:3], "odd": Odd()}
    holder["again"] = holder
    found = tensors(written(tmp_path / "w.pt", holder))
    assert set(found) == {"a", "b"}
    assert found["b"].data_ptr() == found["a"].data_ptr() + 4


class Odd:
    """What makes torch's own careful reader refuse a file."""


class Calls:
    """A planted command: pickle writes it as a call."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


PLANTED = {
    "posix.system": lambda trace: Calls(os.system, f"touch {trace}"),
    "exec": lambda trace: Calls(exec, f"open({str(trace)!r}, 'w')"),
    "open": lambda trace: Calls(open, str(trace), "w"),
    "commands.call": lambda trace: Calls(subprocess.call, ["touch", str(trace)]),
    "getattr": lambda trace: Calls(getattr, Calls(open, str(trace), "w"), "name"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ["beside", "inside", "within a call"])
@pytest.mark.parametrize("planted", PLANTED)
def test_planted_commands_are_named_and_do_not_run(tmp_path, form, where, planted):
    trace = tmp_path / "was-here"
    command = PLANTED[planted](trace)
    network = Labelled()
    if where == "inside":
        network.layers[0].hidden = command
    content = {
        "beside": {"model": network, "extra": command},
        "inside": network,
        "within a call": {"model": network, "extra": Calls(functools.partial, print, command)},
    }[where]
    path = written(tmp_path / "evil.pt", content, form)
    with pytest.raises(WeightsError) as told:
        read_inert(path)
    assert "none of it was run" in str(told.value)
    assert planted in str(told.value)
    assert not trace.exists()
    # It means something only if reading it without care runs the command.
    torch.load(path, weights_only=False)
    assert trace.exists()


def raw_pickle(path, body, form):
    """A file of torch whose instructions are written by hand."""
    if form == "legacy":
        start = [pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {})]
        path.write_bytes(b"".join(start) + body + pickle.dumps([], 2))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", body)
    return path


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def by_instruction(trace):
    """One command by each instruction of pickle that calls or makes something."""
    argument = text(f"touch {trace}")
    return {
        "REDUCE": b"\x80\x02cos\nsystem\n" + argument + b"\x85R.",
        "INST": b"(" + argument + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + argument + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + text("touch") + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n" + text("touch") + b"\x85}\x92.",
        "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93" + argument + b"\x85R.",
        "dotted": b"\x80\x04" + text("torch") + text("os.system") + b"\x93" + argument + b"\x85R.",
        "BUILD": b"\x80\x02cargparse\nNamespace\n)\x81}" + text("__reduce__")
        + b"cos\nsystem\nsb" + b".",
        "old Python": b"c__builtin__\neval\n(" + text("1") + b"tR.",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("instruction", by_instruction(""))
def test_no_instruction_runs_a_command(tmp_path, form, instruction):
    trace = tmp_path / "was-here"
    path = raw_pickle(tmp_path / "evil.pt", by_instruction(trace)[instruction], form)
    with pytest.raises(WeightsError, match="none of it was run"):
        read_inert(path)
    assert not trace.exists()


def test_a_command_is_named_even_where_the_file_breaks_after_it(tmp_path):
    path = raw_pickle(tmp_path / "evil.pt", b"\x80\x02cos\nsystem\n(lR.", "zip")
    with pytest.raises(WeightsError, match=r"posix|os\.system"):
        read_inert(path)


@pytest.mark.parametrize("state", [b"}" + text("_function") + b"Ns", b"N}" + text("x") + b"Ns\x86"])
def test_a_file_cannot_change_what_reads_it(tmp_path, state):
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b."
    with pytest.raises(pickle.UnpicklingError, match="state of a function"):
        read_inert(raw_pickle(tmp_path / "w.pt", body, "zip"))


class Bent:
    """A tensor whose description is not what torch would write."""

    def __init__(self, tensor, **changes):
        self.tensor, self.changes = tensor, changes

    def __reduce__(self):
        function, given = self.tensor.__reduce_ex__(2)
        names = ["storage", "offset", "size", "stride", "grad", "hooks"]
        return function, tuple({**dict(zip(names, given, strict=True)), **self.changes}.values())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "changes",
    [
        {"size": (4, 3)},
        {"offset": 1},
        {"offset": -1},
        {"stride": (3, 5)},
        {"stride": (-3, 1)},
        {"size": (10**12, 3), "stride": (0, 1)},
        {"size": (-2, -3)},
    ],
)
def test_a_tensor_may_not_leave_its_storage(tmp_path, form, changes):
    content = {"w": Bent(torch.randn(3, 3), **changes), "odd": Odd()}
    with pytest.raises(pickle.UnpicklingError, match="does not lie in its storage"):
        read_inert(written(tmp_path / "w.pt", content, form))


def rewritten(path, change):
    """The same archive with each member changed by a function of its name and content."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
    return path


def test_a_storage_that_is_shorter_than_described_is_refused(tmp_path):
    path = written(tmp_path / "w.pt", {"w": torch.randn(8), "odd": Odd()})
    rewritten(path, lambda name, content: content[:-4] if "/data/" in name else content)
    with pytest.raises(pickle.UnpicklingError, match="storage 0 has 28 bytes, not 32"):
        read_inert(path)


def test_a_storage_that_is_larger_than_the_file_is_refused_before_it_is_made(tmp_path):
    path = written(tmp_path / "w.pt", {"w": torch.zeros(200), "odd": Odd()}, "legacy")
    content = path.read_bytes()
    number = b"K\xc8"  # 200 in one byte, as the length of the storage and of the tensor
    assert content.count(number) >= 2
    path.write_bytes(content.replace(number, b"J\xff\xff\xff\x7f"))
    with pytest.raises(pickle.UnpicklingError, match="larger than the file"):
        read_inert(path)


def test_a_cut_file_is_no_tensors(tmp_path):
    path = written(tmp_path / "w.pt", {"w": torch.zeros(200), "odd": Odd()}, "legacy")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(pickle.UnpicklingError, match="ends within a storage"):
        read_inert(path)


def test_nothing_of_a_file_is_imported(tmp_path, monkeypatch):
    path = written(tmp_path / "w.pt", {"m": Labelled(), "odd": Odd()})

    def no_import(name, *given, **named):
        raise AssertionError(name)

    monkeypatch.setattr(builtins, "__import__", no_import)
    found = read_inert(path)
    monkeypatch.undo()
    assert "m.layers.0.weight" in dict(walk(found, 20))
