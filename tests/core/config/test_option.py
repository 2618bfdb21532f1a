"""Options: the same checks wherever a value comes from, and whoever makes a config."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core import config as configs
from cxrtool.core.config import EvaluateConfig, TrainConfig, options_of
from cxrtool.core.config.option import PANELS, Config
from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.search.space import parse_space
from cxrtool.training.recorder import settings_of
from cxrtool.training.resume import _own_settings
from tests.cli.test_app import COMMANDS

CONFIGS = [configs.CommonConfig, *COMMANDS.values()]
DECLARED = [(config, name) for config in CONFIGS for name in options_of(config)]
SAME_WORD = {"action", "by", "readers", "resume", "views"}
"""Options of one name that mean different things: what to do, what to split by, whose views, and
what becomes of several readers' labels or who read besides the model."""


def test_every_field_is_an_option_with_help():
    for config in CONFIGS:
        assert issubclass(config, Config)
        assert set(options_of(config)) == {one.name for one in fields(config)}
        for option in options_of(config).values():
            assert option.panel in PANELS
            assert option.help


@pytest.mark.parametrize(("config", "name"), DECLARED)
def test_an_option_takes_its_default_and_nothing_of_another_kind(config, name):
    option = options_of(config)[name]
    assert option.problem(option.default) == ""
    assert option.problem(object())
    assert bool(option.problem(None)) != option.optional
    if option.kind in (int, float):
        low, high = option.within
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert not any(option.problem(option.kind(end)) for end in (low, high))
        wrong = (low - 1, high + 1, True, "1", math.nan, math.inf)
        assert all(option.problem(value) for value in wrong)


def test_copies_of_an_option_have_the_same_checks():
    seen = {}
    for config, name in DECLARED:
        option = options_of(config)[name]
        checks = (option.kind, option.within, option.choices, option.check)
        assert name in SAME_WORD or seen.setdefault(name, checks) == checks, (config, name)


WRONG = [
    ("train", "uncertainty", "ones,Edema=maybe", "'maybe' is not known"),
    ("evaluate", "uncertainty", "one", "did you mean ones"),
    ("compare", "uncertainty", "zeros,", "'' is not known"),
    ("train", "arch", "densenet12", "did you mean densenet121"),
    ("tune", "schedule", "cosin", "did you mean cosine"),
    ("evaluate", "bootstrap", 99, "99 draws are too few"),
    ("predict", "engine", "tensorrt", "there are auto, torch"),
    ("gui", "precision", "fp64", "there are auto, fp32"),
    ("prepare", "cache_size", 31, "32"),
    ("split", "folds", 1, "2"),
    ("train", "ema", 1.0, "0.999999"),
    ("tune", "pos_weight", "heavy", "none, balanced or a number"),
    ("gui", "device", "gpu", "use auto, cpu, cuda"),
]


@pytest.mark.parametrize(("command", "name", "value", "said"), WRONG)
def test_a_wrong_value_is_refused_from_wherever_it_comes(command, name, value, said, tmp_path):
    flag = f"--{name.replace('_', '-')}"
    inputs = ["x"] if command in ("predict", "compare") else []
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({name: value}))
    ways = [[f"{flag}={value}"], ["--config", str(file)]]
    ways += [["--recipe", str(file)]] if command in ("train", "tune") else []
    for way in ways:
        done = CliRunner().invoke(app, [command, *inputs, *way])
        told = " ".join(done.stderr.split())
        assert done.exit_code == 2
        assert f"Invalid value for '{flag}'" in told
        assert said in told
        assert (f"(in {file})" in told) == (way[0] != f"{flag}={value}")
    with pytest.raises(UsageError, match=f"^{flag}: ") as refused:
        COMMANDS[command](**{name: value})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("arch", "densenet12", "did you mean densenet121"),
        ("pos_weight", "0", "not none, balanced"),
        ("lr", 101.0, "above 100"),
    ],
)
def test_a_space_and_a_saved_run_have_the_same_checks(tmp_path, name, value, said):
    with pytest.raises(UsageError, match=f"{name}: .*{said}"):
        parse_space({name: [getattr(TrainConfig(), name), value]}, TrainConfig())
    run = RunFolder(tmp_path)
    run.config.write_text(yaml.safe_dump({**settings_of(TrainConfig(), 1), name: value}))
    with pytest.raises(RunError, match=rf"config\.yaml: {name}: .*{said}.*restore it"):
        _own_settings(run)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(UsageError, match=r"--epochs: 0 is below 1, .*; --lr: nan is not a finite"):
        replace(TrainConfig(), lr=math.nan, epochs=0)


def test_lists_hold_what_they_should():
    assert EvaluateConfig(predictions=[Path("a.csv")]).predictions == [Path("a.csv")]
    for wrong in ("a.csv", [1]):
        with pytest.raises(UsageError, match="--predictions"):
            EvaluateConfig(predictions=wrong)
