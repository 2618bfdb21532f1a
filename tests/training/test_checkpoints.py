"""A checkpoint, damaged, altered or another run's: one message that names it, and no training."""

import datetime
import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import RunError
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.new_runs import OpenRun
from cxrtool.core.processes import ALONE
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.networks.devices import choose_device
from cxrtool.training import checkpoints as checkpoints_module
from cxrtool.training.checkpoints import Checkpoint, read_checkpoint, restore, write_checkpoint
from cxrtool.training.recorder import RunRecorder
from cxrtool.training.resume import check_checkpoint, read_resumed
from cxrtool.training.setup import set_up
from cxrtool.workflows import train as train_module
from cxrtool.workflows.train import train_model
from tests.conftest import TINY

CONFIG = replace(
    TINY, batch_size=8, limit=32, ema=0.9, epochs=3, checkpoint_every=0.0, patience=2, name="run"
)


class KilledError(BaseException):
    pass


@pytest.fixture(scope="module")
def killed(prepared_once, tmp_path_factory):
    """A workspace with a run that was killed in its second epoch, after a best one."""
    folder = tmp_path_factory.mktemp("killed") / "cxr"
    workspace = Workspace(shutil.copytree(prepared_once.folder, folder))
    run = RunFolder(workspace.runs / "run")

    def until_the_second_epoch(path, checkpoint):
        write_checkpoint(path, checkpoint)
        if checkpoint.facts["control"]["epoch"] == 1 and checkpoint.facts["control"]["batch"]:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrtool.training.recorder.write_checkpoint", until_the_second_epoch)
        with pytest.raises(KilledError):
            train_model(CONFIG, workspace, seed=5)
    assert read_checkpoint(run.checkpoint).facts["best_sha256"]
    return workspace


@pytest.fixture(scope="module")
def ready(killed):
    """The run, what goes on with it, and the training that it would be."""
    run = RunFolder(killed.runs / "run")
    resumed = read_resumed(TrainConfig(resume="run", device="cpu", workers=0), killed, 42, ())
    setup = set_up(
        resumed.config,
        choose_device("cpu"),
        killed,
        seed=5,
        processes=ALONE,
        fresh=False,
        reporter=SILENT,
    )
    return run, resumed, setup


def control_of(setup):
    return train_module._control(setup, None, lambda: False)


def content(run):
    with safe_open(run.checkpoint, framework="pt") as file:
        return json.loads(file.metadata()["facts"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118


@pytest.fixture
def copy(killed, tmp_path):
    return RunFolder(shutil.copytree(killed.runs / "run", tmp_path / "run"))


def refused(run, *said):
    with pytest.raises(RunError) as raised:
        read_checkpoint(run.checkpoint)
    message = str(raised.value)
    assert str(run.checkpoint) in message
    assert "\n" not in message
    assert len(message) < 1000
    assert any(word in message for word in said), message


STRANGE = (None, True, "0.5", -5, 10**15, 1e300, [], {}, [[]], "x" * 100_000)


def test_as_training_wrote_it_it_is_read_and_goes_on(ready):
    run, resumed, setup = ready
    checkpoint = read_checkpoint(run.checkpoint)
    check_checkpoint(checkpoint, resumed, setup.data)
    assert restore(checkpoint, setup.learner, control_of(setup), ALONE)


def test_facts_that_are_edited_are_refused_key_by_key(copy):
    facts, tensors = content(copy)
    few = {"network.fc.bias": tensors["network.fc.bias"]}
    for place in (facts, facts["control"]):
        for key, value in list(place.items()):
            strange = STRANGE if place is facts else STRANGE[:5]
            for other in [one for one in strange if one != value or type(one) is not type(value)]:
                place[key] = other
                save_file(few, copy.checkpoint, {"facts": json.dumps(facts)})
                refused(copy, key, "`sealed`", "SHA-256")
            del place[key]
            save_file(few, copy.checkpoint, {"facts": json.dumps(facts)})
            refused(copy, key, "`sealed`", "SHA-256")
            place[key] = value
    save_file(few, copy.checkpoint, {"facts": json.dumps(facts | {"besides": 1})})
    refused(copy, "besides is not a key of this version")
    facts["control"]["epoch"] = -5
    save_file(few, copy.checkpoint, {"facts": json.dumps(facts)})
    refused(copy, "control: epoch is -5 and should be greater than or equal to 0")


@pytest.mark.parametrize(
    "facts",
    ["", "[]", "null", "{", "[" * 100_000, '{"format": 1, "frozen": ' + "9" * 5000 + "}", "{}"],
)
def test_facts_that_are_no_facts_are_refused(copy, facts):
    save_file({"a": torch.zeros(1)}, copy.checkpoint, {"facts": facts})
    refused(copy, "readable", "format")


def test_a_file_that_is_no_checkpoint_is_refused(copy):
    whole = copy.checkpoint.read_bytes()
    save_file({"a": torch.zeros(1)}, copy.checkpoint)
    refused(copy, "it has no 'facts'")
    for damaged in (b"", b"\0" * 100, b"\xff" * 100, whole[: len(whole) // 2]):
        copy.checkpoint.write_bytes(damaged)
        refused(copy, "not a readable checkpoint")
    copy.checkpoint.unlink()
    os.mkfifo(copy.checkpoint)
    refused(copy, "a named pipe")


def test_tensors_that_are_not_those_that_were_written_are_refused(copy):
    whole = copy.checkpoint.read_bytes()
    copy.checkpoint.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(copy, "its tensors' SHA-256 is another")
    facts, tensors = content(copy)
    for changed in (
        {key: value for key, value in tensors.items() if key != "network.fc.bias"},
        {**tensors, "network.fc.bias": torch.zeros(3)},
        {**tensors, "besides": torch.zeros(1)},
    ):
        save_file(changed, copy.checkpoint, {"facts": json.dumps(facts)})
        refused(copy, "its tensors' SHA-256 is another")


def without(key):
    return lambda facts, tensors: tensors.pop(key)


def with_tensor(key, value):
    return lambda facts, tensors: tensors.update({key: value})


def with_fact(key, value):
    return lambda facts, tensors: facts.update({key: value})


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (without("network.fc.bias"), "fc.bias"),
        (without("average.fc.bias"), "fc.bias"),
        (with_tensor("network.fc.bias", torch.zeros(3)), "fc.bias"),
        (with_tensor("network.besides", torch.zeros(3)), "besides"),
        (without("optimiser.0.exp_avg"), "optimiser.0.exp_avg is missing"),
        (without("optimiser.0.step"), "optimiser.0.step is missing"),
        (with_tensor("optimiser.0.exp_avg", torch.zeros(3)), "optimiser.0.exp_avg has shape (3,)"),
        (with_tensor("optimiser.0.exp_avg", torch.tensor(1.0)), "optimiser.0.exp_avg has shape"),
        (without("generator.0.cpu"), "'cpu' is missing"),
        (with_tensor("generator.0.cpu", torch.zeros(9, dtype=torch.uint8)), "does not fit"),
        (with_tensor("generator.0.augmentation", torch.zeros(9, dtype=torch.uint8)), "not fit"),
        (with_tensor("generator.0.cpu", torch.zeros(9)), "does not fit"),
        (without("losses"), "'losses' is missing"),
        (with_tensor("losses", torch.zeros(7, 1)), "losses of shape (7, 1)"),
        (without("sizes"), "'sizes' is missing"),
        (with_fact("sampler", {}), "does not fit"),
        (with_fact("sampler", {"bit_generator": "MT19937", "state": {}}), "does not fit"),
        (with_fact("averaged", None), "averaged is null"),
    ],
)
def test_what_does_not_fit_the_training_is_named(ready, alter, said):
    """Also where whoever made the checkpoint made its fingerprints too."""
    run, _, setup = ready
    checkpoint = read_checkpoint(run.checkpoint)
    facts, tensors = dict(checkpoint.facts), dict(checkpoint.tensors)
    alter(facts, tensors)
    with pytest.raises(RunError) as raised:
        restore(Checkpoint(facts, tensors, run.checkpoint), setup.learner, control_of(setup), ALONE)
    assert str(raised.value).startswith(f"{run.checkpoint} does not fit the training of its run")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 800


def test_a_checkpoint_of_another_run_or_of_other_settings_is_refused(ready, copy):
    _, resumed, setup = ready
    resumed = replace(resumed, run=copy)
    checkpoint = read_checkpoint(copy.checkpoint)
    other = replace(checkpoint, facts={**checkpoint.facts, "run": "0" * 64})
    with pytest.raises(RunError, match=r"last\.safetensors is of another run"):
        check_checkpoint(other, resumed, setup.data)
    edited = replace(resumed, settings={**resumed.settings, "lr": 0.5, "epochs": 9})
    with pytest.raises(RunError, match=r"config\.yaml was edited.* \(lr 0\.5, and was 0\.001\)"):
        check_checkpoint(checkpoint, edited, setup.data)
    longer = replace(resumed, settings={**resumed.settings, "epochs": 9, "patience": 8})
    check_checkpoint(checkpoint, longer, setup.data)


def test_best_weights_that_are_others_are_refused(ready, copy):
    _, resumed, setup = ready
    checkpoint = read_checkpoint(copy.checkpoint)
    best = copy.best(checkpoint.facts["control"]["best_step"])
    for damage in (lambda: best.write_bytes(best.read_bytes()[:-1] + b"x"), best.unlink):
        damage()
        with pytest.raises(RunError, match="is not the file of best weights"):
            check_checkpoint(checkpoint, replace(resumed, run=copy), setup.data)
    logits = {**checkpoint.tensors, "best_logits": torch.zeros(3, 14)}
    facts = {**checkpoint.facts, "best_sha256": None}
    with pytest.raises(RunError, match=r"best_logits has shape \(3, 14\), and the valid part"):
        check_checkpoint(Checkpoint(facts, logits), replace(resumed, run=copy), setup.data)


def test_a_checkpoint_of_version_0_1_is_read(copy):
    facts, tensors = content(copy)
    for key in ("run", "settings", "best_sha256", "tensors_sha256", "sealed"):
        del facts[key]
    save_file(tensors, copy.checkpoint, {"facts": json.dumps(facts)})
    assert read_checkpoint(copy.checkpoint).facts == facts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": "ten"}, 'epochs is "ten" and should be a valid integer'),
        ({"lr": "fast"}, 'lr is "fast" and should be a valid number'),
        ({"lr": float("inf")}, "lr is Infinity and should be a finite number"),
        ({"image_size": -1}, "image_size is -1"),
        ({"labels": ["Edema"]}, "labels is a list of 1"),
        ({"lr": datetime.date(2026, 1, 2)}, 'lr is "2026-01-02" and should be a valid number'),
        ({"arch": b"resnet18"}, "arch is"),
        ({"seed": None}, "seed is null"),
        ({"seed": 10**400}, "seed is a number of many digits"),
        ({"besides": 1}, "besides is not a key of this version"),
    ],
)
def test_a_value_in_config_yaml_that_is_none_is_named(killed, copy, change, said):
    values = yaml.safe_load(copy.config.read_text())
    copy.config.write_text(yaml.safe_dump({**values, **change}))
    with pytest.raises(RunError) as raised:
        read_resumed(TrainConfig(resume=str(copy.path)), killed, 42, ())
    assert str(raised.value).startswith(f"{copy.config}: {said}"), raised.value
    assert str(raised.value).endswith("restore it from a copy")


@pytest.mark.parametrize("key", ["identity", "squish", "manifest_sha256", "epochs", "resumed"])
def test_an_altered_environment_json_is_named_with_its_key(killed, copy, key):
    values = read_json(copy.environment)
    for other in ("text", True, None):
        write_json(copy.environment, {**values, key: other})
        with pytest.raises(RunError, match=rf"environment\.json: {key}"):
            read_resumed(TrainConfig(resume=str(copy.path)), killed, 42, ())


def test_all_that_is_checked_is_written_by_training_itself(copy):
    facts, _ = content(copy)
    assert set(facts) - {"format"} == set(checkpoints_module.CheckpointFacts.model_fields)


def test_best_weights_that_are_replaced_while_training_goes_on_are_not_taken(ready, copy, killed):
    _, _, setup = ready
    checkpoint = read_checkpoint(copy.checkpoint)
    step = checkpoint.facts["control"]["best_step"]
    recorder = RunRecorder(OpenRun(copy), setup, killed, SILENT)
    recorder.take_up(checkpoint)
    assert recorder._best_weights(step) == checkpoint.facts["best_sha256"]
    best = copy.best(step)
    best.write_bytes(best.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="is not what training wrote as its best weights"):
        recorder._best_weights(step)
