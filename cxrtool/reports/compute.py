"""What a run's training took: hardware, time and speed, as its own files have them."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from cxrtool.core.errors import counted
from cxrtool.core.files import read_text
from cxrtool.core.numbers import duration
from cxrtool.core.runs import RunFolder


def compute_used(run: RunFolder, environment: Mapping[str, Any]) -> dict[str, str]:
    """Hardware, time and speed of a training in words; what is not known is empty.

    Args:
        run: whose history is read.
        environment: what its environment.json holds; nothing where that is missing.
    """
    rows = _history(run)
    spent = [_number(row.get("seconds")) for row in rows]
    training = [_number(row.get("train_seconds")) for row in rows]
    images = [
        seconds * _number(row.get("images_per_second"))
        for seconds, row in zip(training, rows, strict=True)
    ]
    resumed = len(environment.get("resumed") or ())
    return {
        "hardware of the training": _hardware(environment),
        "time of the training": _time(sum(spent), len(rows), resumed),
        "speed of the training": f"{sum(images) / sum(training):,.0f} images/s while training"
        if sum(training) and sum(images)
        else "",
    }


def _hardware(environment: Mapping[str, Any]) -> str:
    device = environment.get("device")
    if not device:
        return ""
    processes, threads = environment.get("processes"), environment.get("threads")
    beside = [f"{int(processes)} processes"] if processes and int(processes) > 1 else []
    beside += [counted(int(threads), "thread")] if threads else []
    return ", ".join([str(device), *beside])


def _time(seconds: float, rows: int, resumed: int) -> str:
    if not seconds:
        return ""
    again = f", resumed {counted(resumed, 'time')}" if resumed else ""
    return f"{duration(seconds)}, with {counted(rows, 'validation')}{again}"


def _history(run: RunFolder) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(read_text(run.history), newline="")))
    except (OSError, ValueError, csv.Error):
        return []


def _number(text: str | None) -> float:
    """A cell's number; 0 where there is none."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if value == value else 0.0
