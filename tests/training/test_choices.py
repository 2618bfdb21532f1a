import json
from dataclasses import replace

import pytest
import torch

from cxrtool.core.errors import UsageError
from cxrtool.networks.devices import compute_threads
from cxrtool.training import choices as choices
from cxrtool.training.choices import resolve
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening
from tests.support.calling import call


def test_more_frozen_epochs_than_epochs_are_refused(prepared_once, tmp_path):
    place = ["-w", prepared_once.folder, "--dry-run"]
    for epochs, frozen in ((2, 3), (1, 2)):
        done = call("train", *place, "--epochs", epochs, "--freeze-epochs", frozen)
        assert done.exit_code == 2
        assert f"--freeze-epochs {frozen}" in done.stderr
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 2\nfreeze_epochs: 9\n")
    assert call("train", *place, "--config", file).exit_code == 2
    assert call("tune", "-w", prepared_once.folder, "--config", file).exit_code == 2


def test_a_batch_larger_than_the_memory_is_refused_before_it_is_read():
    from dataclasses import replace

    from cxrtool.training.choices import refuse_huge

    settings = replace(TINY, batch_size=64, image_size=1024)
    refuse_huge(settings, 1, memory=2**30)  # 64 x 1024 x 1024 x 4 floats are 1 GiB
    with pytest.raises(UsageError, match="a batch alone need 1 GiB"):
        refuse_huge(settings, 1, memory=2**30 - 1)
    refuse_huge(settings, 2, memory=2**29)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pos_weight": "many"}, "none, balanced or a number"),
        ({"pos_weight": "0"}, "none, balanced or a number"),
        ({"pos_weight": "inf"}, "none, balanced or a number"),
        ({"pos_weight": "nan"}, "none, balanced or a number"),
        ({"pos_weight": "2", "loss": "asymmetric"}, "belongs to --loss bce"),
        ({"schedule": "one-cycle", "warmup": 1.0}, "pass --warmup 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        resolve(replace(TINY, **changes))


def test_a_training_beside_others_says_so_and_keeps_its_number_when_resumed(prepared, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(choices, "cores_in_use", lambda: 99.0)
    with compute_threads(2):
        listening = Listening()
        listening.note = listening.warn
        train_model(
            replace(TINY, name="beside", epochs=1, keep_checkpoint=True),
            prepared,
            seed=1,
            reporter=listening,
        )
    assert any("computing with 1 thread," in text for text in listening.warnings)
    environment = prepared.runs / "beside" / "environment.json"
    assert json.loads(environment.read_text())["threads"] == 1
    monkeypatch.setattr(choices, "cores_in_use", lambda: 0.0)
    longer = replace(TINY, resume="beside", epochs=2, threads=None)
    with compute_threads(2):
        again = Listening()
        train_model(longer, prepared, seed=1, given=("epochs",), reporter=again)
    assert not [text for text in again.warnings if "thread" in text]
    assert json.loads(environment.read_text())["threads"] == 1


@pytest.mark.parametrize("asked", ["threads", "OMP_NUM_THREADS", "cuda"])
def test_who_says_how_many_threads_is_not_asked_again(asked, monkeypatch):
    def never():
        raise AssertionError("the machine was looked at")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(choices, "cores_in_use", never)
    if asked == "OMP_NUM_THREADS":
        monkeypatch.setenv(asked, "2")
    config = replace(TINY, threads=3 if asked == "threads" else None)
    device = torch.device("cuda" if asked == "cuda" else "cpu")
    assert choices.use_free_cores(config, device, reporter=Listening()) == config
