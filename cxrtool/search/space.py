"""What `tune` searches: options of `train`, each with its range or its choices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cxrtool.core.config import PROBE_ONLY, TIMM, TrainConfig, options_of
from cxrtool.core.config.option import Option
from cxrtool.core.errors import DataError, UsageError, unknown_name
from cxrtool.core.yaml_files import read_yaml

Value = float | int | str
Dimension = FloatDistribution | IntDistribution | CategoricalDistribution
"""The values of one searched option: a range, both ends in it, or choices."""
Space = Mapping[str, Dimension]
"""By the option's name."""
DENSE = "densenet"
HAVE: dict[str, tuple[str, ...]] = {
    "drop_rate": (DENSE, TIMM),
    "drop_path": ("convnext", "efficientnet", "swin", TIMM),
}
"""What the names of the architectures begin with that have an option; others are without it."""

MEASURES = ("labels", "uncertainty", "blank", "fold", "limit")
"""Options that change what the score is measured on: their scores cannot be compared."""
OF_THE_TRIAL = (
    *("name", "resume", "force", "dry_run", "lr_find", "recipe", "wandb"),
    *("device", "workers", "threads", "checkpoint_every", "keep_checkpoint", "compile"),
)
"""Options that say how a trial is run, and not what is trained."""
SEARCHABLE = {
    name: option
    for name, option in options_of(TrainConfig).items()
    if name not in (*MEASURES, *OF_THE_TRIAL)
}
"""The options that can be searched: numbers and text."""


def default_space(config: TrainConfig) -> Space:
    """The report's space: rate and decay; patience and drop rate where the training has them.

    Of a last layer that is fitted to features, the penalty.
    """
    if config.probe == PROBE_ONLY:
        return {"l2": FloatDistribution(1e-6, 1e1, log=True)}
    space: dict[str, Dimension] = {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    }
    if config.schedule == "plateau" and config.patience > 2:
        # A plateau must be noticed before the training stops early.
        space["plateau_patience"] = IntDistribution(1, min(4, config.patience - 1))
    if config.arch.startswith(DENSE):
        space["drop_rate"] = FloatDistribution(0.0, 0.5)
    return space


def applied(config: TrainConfig, values: Mapping[str, Value]) -> TrainConfig:
    """A training with some of its options replaced, without those that its network has not."""
    changed: dict[str, Any] = dict(values)
    made = replace(config, **changed)
    lacking = [name for name in HAVE if name in values and not _has(made.arch, name)]
    usual: dict[str, Any] = {name: options_of(TrainConfig)[name].default for name in lacking}
    return replace(made, **usual)


def _has(arch: object, option: str) -> bool:
    return str(arch).startswith(HAVE[option])


def values_of(config: TrainConfig, space: Space) -> dict[str, Any]:
    """The values that a training has for the dimensions of a space."""
    return {name: getattr(config, name) for name in space}


def span(dimension: Dimension) -> tuple[Any, ...]:
    """The choices of a dimension, or the two ends of its range."""
    if isinstance(dimension, CategoricalDistribution):
        return dimension.choices
    return dimension.low, dimension.high


def holds(dimension: Dimension, value: object) -> bool:
    """Whether a value lies in a dimension."""
    if isinstance(dimension, CategoricalDistribution):
        return value in dimension.choices
    if not isinstance(value, int | float):
        return False
    if isinstance(dimension, IntDistribution) and value != int(value):
        return False
    return dimension.low <= value <= dimension.high


def cast(name: str, dimension: Dimension, value: Any) -> Value:
    """A value that came from elsewhere, as `train` takes it.

    Raises:
        UsageError: it is not in the dimension.
    """
    made: Any = value
    if not isinstance(dimension, CategoricalDistribution):
        try:
            # The ends of a range may come back rounded.
            made = min(max(float(value), dimension.low), dimension.high)
            if abs(made - float(value)) > 1e-6 * abs(dimension.high):
                made = value
            elif isinstance(dimension, IntDistribution) and made == int(made):
                made = int(made)
        except (TypeError, ValueError):
            made = value  # no number: it is refused below, with its name
    if not holds(dimension, made):
        raise UsageError(f"{name} {value!r} is not in the space: {_as_yaml(dimension)}")
    checked: Value = made
    return checked


def as_yaml(space: Space) -> dict[str, Any]:
    """A space as its file has it."""
    return {name: _as_yaml(dimension) for name, dimension in space.items()}


def _as_yaml(dimension: Dimension) -> Any:
    if isinstance(dimension, CategoricalDistribution):
        return list(dimension.choices)
    log = {"log": True} if dimension.log else {}
    return {"low": dimension.low, "high": dimension.high, **log}


def as_sweep(space: Space, metric: str) -> dict[str, Any]:
    """The configuration of a sweep at Weights & Biases: Bayesian, the highest `metric`."""
    return {
        "method": "bayes",
        "metric": {"name": metric, "goal": "maximize"},
        "parameters": {name: _as_parameter(dimension) for name, dimension in space.items()},
    }


def _as_parameter(dimension: Dimension) -> dict[str, Any]:
    if isinstance(dimension, CategoricalDistribution):
        return {"values": list(dimension.choices)}
    if isinstance(dimension, IntDistribution):
        kind = "q_log_uniform_values" if dimension.log else "int_uniform"
    else:
        kind = "log_uniform_values" if dimension.log else "uniform"
    return {"distribution": kind, "min": dimension.low, "max": dimension.high}


def size(space: Space) -> int | None:
    """How many combinations there are; None: a range of real numbers has no number of them."""
    count = 1
    for dimension in space.values():
        if isinstance(dimension, FloatDistribution):
            return None
        if isinstance(dimension, CategoricalDistribution):
            count *= len(dimension.choices)
        else:
            count *= dimension.high - dimension.low + 1
    return count


def read_space(path: Path, config: TrainConfig) -> Space:
    """Read a YAML file of `option: {low: ..., high: ..., log: true}` or `option: [a, b]`.

    Raises:
        UsageError: it cannot be read, or `parse_space` refuses what it says.
    """
    try:
        values = read_yaml(path, as_text=True)
    except DataError as error:
        raise UsageError(f"--space {error}") from None
    if not values:
        raise UsageError(f"--space {path}: give lines like `lr: {{low: 1e-5, high: 1e-2}}`")
    return parse_space(values, config, where=str(path))


def parse_space(
    values: Mapping[Any, Any], config: TrainConfig, *, where: str = "the space"
) -> Space:
    """A space from plain values, checked against what `train` takes; `where` begins its messages.

    Each option has a mapping with `low`, `high` and perhaps `log`, or a list of choices.

    Raises:
        UsageError: it names every option that cannot be searched so.
    """
    space: dict[str, Dimension] = {}
    problems = []
    for name, given in values.items():
        found = _dimension(str(name), given)
        if isinstance(found, str):
            problems.append(f"{name}: {found}")
        else:
            space[str(name)] = found
    problems += _contradictions(space, config)
    if problems:
        raise UsageError(f"{where}: {'; '.join(problems)}")
    return space


def _dimension(name: str, given: Any) -> Dimension | str:
    """The dimension, or what is wrong with it."""
    if name in MEASURES:
        return "it changes what the score is measured on, so its trials could not be compared"
    if name in OF_THE_TRIAL:
        return "it says how a trial is run, and is given once, as an option"
    if name not in SEARCHABLE:
        return unknown_name("option of train", name, sorted(SEARCHABLE))
    if isinstance(given, list):
        return _choices(SEARCHABLE[name], given)
    if isinstance(given, dict):
        return _range(SEARCHABLE[name], given)
    return "give a range {low: ..., high: ...} or a list of choices"


def _choices(option: Option, given: Sequence[Any]) -> Dimension | str:
    if any(isinstance(value, dict | list) or value is None for value in given):
        return "choices are plain values"
    # YAML reads `off` as false.
    values: list[Any] = [_number(value, option) if _numeric(option) else value for value in given]
    if None in values:
        return f"{given[values.index(None)]!r} is not a number"
    problems = [option.problem(value) for value in values]
    if any(problems):
        return next(filter(None, problems))
    if len(values) < 2 or len(set(values)) < len(values):
        return "give two or more different choices"
    return CategoricalDistribution(values)


def _range(option: Option, given: Mapping[Any, Any]) -> Dimension | str:
    unknown = [str(key) for key in given if key not in ("low", "high", "log")]
    if unknown:
        return unknown_name("key", unknown[0], ("low", "high", "log"))
    if not _numeric(option):
        return "it is not a number: give a list of choices"
    low, high = _number(given.get("low"), option), _number(given.get("high"), option)
    log = _TRUTHS.get(str(given.get("log", False)).lower())
    if low is None or high is None or log is None:
        return "low and high are numbers, and log is true or false"
    if not low < high:
        return f"low {low:g} is not below high {high:g}"
    if log and low <= 0:
        return f"a logarithmic range cannot begin at {low:g}"
    if problem := option.problem(low) or option.problem(high):
        return problem
    if option.kind is int:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


_TRUTHS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}


def _numeric(option: Option) -> bool:
    return option.kind in (float, int)


def _number(value: Any, option: Option) -> float | None:
    """A number, also one that YAML takes for text, as it does 1e-5; whole for such an option."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if not isfinite(number):
        return None
    return int(number) if option.kind is int and number == int(number) else number


def _contradictions(space: Space, config: TrainConfig) -> list[str]:
    archs = span(space["arch"]) if "arch" in space else (config.arch,)
    lacking = [
        name for name in HAVE if name in space and not any(_has(arch, name) for arch in archs)
    ]
    if lacking:
        return [f"{name}: {', '.join(map(str, archs))} has none" for name in lacking]
    if "plateau_patience" not in space:
        return []
    schedules = span(space["schedule"]) if "schedule" in space else (config.schedule,)
    if "plateau" not in schedules:
        return [f"plateau_patience: without effect on --schedule {', '.join(map(str, schedules))}"]
    most = max(span(space["plateau_patience"]))
    least = min(span(space["patience"])) if "patience" in space else config.patience
    if most < least:
        return []
    return [
        f"plateau_patience: up to {most:g} with a patience of {least:g}: the training would stop "
        "before its learning rate falls"
    ]
