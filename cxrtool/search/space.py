"""What `tune` searches: options of `train`, each with its range or its choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from cxrtool.core.config import TrainConfig, options_of
from cxrtool.core.config.option import Option
from cxrtool.core.errors import DataError, UsageError, unknown_name

Value = float | int | str
DENSE = "densenet"
MEASURES = ("labels", "uncertainty", "blank", "fold", "limit")
"""Options that change what the score is measured on: their scores cannot be set side by side."""
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


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One searched option: a range, both ends in it, or choices."""

    name: str
    low: float = float("nan")
    high: float = float("nan")
    log: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()

    def holds(self, value: object) -> bool:
        """Whether a value lies in it."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float) or (self.whole and value != int(value)):
            return False
        return self.low <= value <= self.high

    def as_yaml(self) -> Any:
        """The dimension as a file of the space has it."""
        if self.choices:
            return list(self.choices)
        ends = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return {"low": ends[0], "high": ends[1], **({"log": True} if self.log else {})}

    def as_sweep(self) -> dict[str, Any]:
        """The dimension as Weights & Biases has it."""
        if self.choices:
            return {"values": list(self.choices)}
        kinds = {
            (False, False): "uniform",
            (False, True): "log_uniform_values",
            (True, False): "int_uniform",
            (True, True): "q_log_uniform_values",
        }
        ends = {"min": self.low, "max": self.high}
        if self.whole:
            ends = {"min": int(self.low), "max": int(self.high)}
        return {"distribution": kinds[self.whole, self.log], **ends}

    def cast(self, value: Any) -> Value:
        """A value that came from elsewhere, as `train` takes it.

        Raises:
            UsageError: it is not in the dimension.
        """
        made: Any = value
        try:
            if not self.choices:
                # The ends of a range may come back rounded.
                slack = 1e-6 * abs(self.high)
                inside = min(max(float(value), self.low), self.high)
                made = inside if abs(inside - float(value)) <= slack else float(value)
                made = int(made) if self.whole and made == int(made) else made
        except (TypeError, ValueError):
            made = value  # no number: it is refused below, with its name
        if not self.holds(made):
            raise UsageError(f"{self.name} {value!r} is not in the space: {self.as_yaml()}")
        checked: Value = made
        return checked


Space = tuple[Dimension, ...]


def default_space(config: TrainConfig) -> Space:
    """The report's space: rate and decay; patience and drop rate where the training has them."""
    space = [
        Dimension(name="lr", low=1e-5, high=1e-2, log=True),
        Dimension(name="weight_decay", low=1e-6, high=1e-1, log=True),
    ]
    if config.schedule == "plateau" and config.patience > 2:
        # A plateau must be noticed before the training stops early.
        most = min(4, config.patience - 1)
        space.append(Dimension(name="plateau_patience", low=1, high=most, whole=True))
    if config.arch.startswith(DENSE):
        space.append(Dimension(name="drop_rate", low=0.0, high=0.5))
    return tuple(space)


def applied(config: TrainConfig, values: Mapping[str, Value]) -> TrainConfig:
    """A training with some of its options replaced; drop rates are DenseNet's alone."""
    changed: dict[str, Any] = dict(values)
    made = replace(config, **changed)
    if "drop_rate" in values and not made.arch.startswith(DENSE):
        made = replace(made, drop_rate=0.0)
    return made


def values_of(config: TrainConfig, space: Space) -> dict[str, Any]:
    """The values that a training has for the dimensions of a space."""
    return {dimension.name: getattr(config, dimension.name) for dimension in space}


def as_yaml(space: Space) -> dict[str, Any]:
    """A space as its file has it."""
    return {dimension.name: dimension.as_yaml() for dimension in space}


def as_sweep(space: Space, metric: str) -> dict[str, Any]:
    """The configuration of a sweep at Weights & Biases: Bayesian, the highest `metric`."""
    return {
        "method": "bayes",
        "metric": {"name": metric, "goal": "maximize"},
        "parameters": {dimension.name: dimension.as_sweep() for dimension in space},
    }


def size(space: Space) -> int | None:
    """How many combinations there are; None: a range of real numbers has no number of them."""
    count = 1
    for dimension in space:
        if not dimension.choices and not dimension.whole:
            return None
        count *= len(dimension.choices) or int(dimension.high - dimension.low) + 1
    return count


def read_space(path: Path, config: TrainConfig) -> Space:
    """Read a YAML file of `option: {low: ..., high: ..., log: true}` or `option: [a, b]`.

    Raises:
        UsageError: it cannot be read, or `parse_space` refuses what it says.
    """
    from cxrtool.core.yaml_files import read_yaml

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
    """A space from plain values, checked against what `train` takes.

    Args:
        values: of each option, a mapping with `low`, `high` and perhaps `log`, or a list.
        config: what is held fixed.
        where: what the messages begin with.

    Raises:
        UsageError: it names every option that cannot be searched so.
    """
    space, problems = [], []
    for name, given in values.items():
        found = _dimension(str(name), given)
        if isinstance(found, str):
            problems.append(f"{name}: {found}")
        else:
            space.append(found)
    problems += _contradictions(space, config)
    if problems:
        raise UsageError(f"{where}: {'; '.join(problems)}")
    return tuple(space)


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
    return Dimension(name=option.name, choices=tuple(values))


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
    return Dimension(
        name=option.name, low=float(low), high=float(high), log=log, whole=option.kind is int
    )


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


def _contradictions(space: Sequence[Dimension], config: TrainConfig) -> list[str]:
    found = {dimension.name: dimension for dimension in space}
    archs = found["arch"].choices if "arch" in found else (config.arch,)
    schedules = found["schedule"].choices if "schedule" in found else (config.schedule,)
    if "drop_rate" in found and not any(str(arch).startswith(DENSE) for arch in archs):
        return [f"drop_rate: {', '.join(map(str, archs))} has none: it is DenseNet's"]
    waits, stops = found.get("plateau_patience"), found.get("patience")
    if waits is None:
        return []
    if "plateau" not in schedules:
        return [f"plateau_patience: without effect on --schedule {', '.join(map(str, schedules))}"]
    most = max(waits.choices, default=waits.high)
    least = config.patience if stops is None else min(stops.choices, default=stops.low)
    if float(most) < float(least):
        return []
    return [
        f"plateau_patience: up to {most:g} with a patience of {least:g}: the training would stop "
        "before its learning rate falls"
    ]
