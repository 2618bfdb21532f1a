"""What was meant is offered."""

import pytest

from cxrtool.cli.suggestions import COMMAND_WORDS, OPTION_WORDS
from tests.support.calling import COMMANDS, call

MEANT = [
    ("train", "--learning-rate", "--lr"),
    ("train", "-lr", "--lr"),
    ("train", "--batch_size", "--batch-size"),
    ("train", "-bs", "--batch-size"),
    ("train", "--model", "--arch"),
    ("train", "--wd", "--weight-decay"),
    ("train", "--img-size", "--image-size"),
    ("train", "--gpu", "--device"),
    ("predict", "--model", "--run"),
    ("tune", "--n-trials", "--trials"),
    ("evaluate", "--threshold=0.3", "--operating-point"),
    ("split", "--szies", "--sizes"),
]


@pytest.mark.parametrize(("command", "wrote", "meant"), MEANT)
def test_the_option_that_was_meant_is_offered(command, wrote, meant):
    done = call(command, wrote, "1")
    assert done.exit_code == 2
    assert f"(did you mean {meant}?)" in done.stderr


@pytest.mark.parametrize(
    ("wrote", "meant"), [("list", "runs"), ("ls", "runs"), ("trian", "train"), ("test", "evaluate")]
)
def test_the_command_that_was_meant_is_offered(wrote, meant):
    done = call(wrote)
    assert done.exit_code == 2
    assert f"No such command '{wrote}' (did you mean {meant}?)" in done.stderr


def test_every_synonym_is_of_an_option_or_command_and_none_is_one_itself():
    options = {p.name for made in COMMANDS.values() for p in made.params}
    assert set(OPTION_WORDS) <= options
    assert set(COMMAND_WORDS) == set(COMMANDS)
    words = [word for text in COMMAND_WORDS.values() for word in text.split()]
    assert len(set(words)) == len(words)
    assert not set(words) & set(COMMANDS)
