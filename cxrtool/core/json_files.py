"""JSON as cxrtool has it: files with their `format` and seal, results field by field."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cxrtool.core.errors import RunError
from cxrtool.core.files import read_text, write_text
from cxrtool.core.numbers import Estimate

FORMAT = 1
"""The `format` that every JSON file carries."""


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON with `format` first; NaN and infinity are refused (ValueError)."""
    content = {"format": FORMAT, **values}
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path, instead: str = "") -> dict[str, Any]:
    """Read a JSON file of ours; `schemas.read_as` also checks what stands in it.

    Args:
        path: the file's.
        instead: what a user can do where it cannot be read.

    Raises:
        RunError: the file is missing, is not JSON, or is of another format than this version's.
    """
    way_on = f": {instead}" if instead else ""
    try:
        values = json.loads(read_text(path), object_pairs_hook=_each_once)
    except FileNotFoundError:
        raise RunError(f"{path} is missing{way_on}") from None
    except (OSError, RecursionError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, RecursionError):
            why = "it is nested too deeply"
        elif "digits" in str(error):  # Python tells a programmer how to read such a number
            why = "a number in it has too many digits"
        raise RunError(f"{path} cannot be read: {why}{way_on}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise RunError(
            f"{path} has format {shortened(found)}, this version of cxrtool reads format {FORMAT}: "
            "use the version that wrote it, or make the file again"
        )
    return values


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of which no key occurs twice: of two equal ones, which was meant?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{shortened(twice)} occurs twice")
    return found


def shortened(value: object, most: int = 60) -> str:
    """A value from JSON or YAML in at most so many characters, as JSON has it, for a message."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    if isinstance(value, int) and not -(10**15) < value < 10**15:
        return "a number of many digits"
    short = value[:most] if isinstance(value, str) else value
    text = json.dumps(short, ensure_ascii=False, default=str)  # YAML has dates and bytes, too
    return text if len(text) <= most else f"{text[: most - 3]}..."


def seal_of(values: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """The SHA-256 of a JSON file's values, however they are laid out in it.

    Args:
        values: of the file; `format` and `sealed`, which holds the result, do not count.
        without: keys that do not count either.
    """
    left_out = {"format", "sealed", *without}
    counted = {key: value for key, value in values.items() if key not in left_out}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


class JsonResult:
    """A dataclass that JSON holds field by field, an estimate `auroc` as `auroc` and `auroc_ci`."""

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values; null where the data do not define one."""
        found: dict[str, Any] = {}
        for name in (one.name for one in fields(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if isinstance(value, Estimate):
                found[name] = value.value
                found[f"{name}_ci"] = value.interval and list(value.interval)
            else:
                found[name] = plain(value)
        return found


def plain(value: Any) -> Any:
    """A value of a field as JSON has it: paths as text, times in ISO 8601."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not hasattr(value, "as_json"):
        return {key: plain(one) for key, one in vars(value).items()}
    return value.as_json() if hasattr(value, "as_json") else value
