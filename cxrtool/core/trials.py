"""Which runs are trials of a search: none of them is meant where no run is named."""

import csv
import io
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cxrtool.core.errors import RunError
from cxrtool.core.files import read_json, read_text

STUDY = "study"
"""The key of a run's environment.json that names the search whose trial it is; null: none."""
_ENVIRONMENT = "environment.json"
_FINISHED = "finished"


def trials_among(folders: Iterable[Path]) -> dict[str, str]:
    """The runs that a search trained last, by name, each with its study.

    Args:
        folders: of runs of one workspace; what cannot be read of them counts as no trial.
    """
    found: dict[str, str] = {}
    listed: dict[str, str] | None = None
    for folder in folders:
        known: dict[str, object] = {}
        with suppress(RunError):
            known = read_json(folder / _ENVIRONMENT)
        if STUDY in known:
            study = known[STUDY]
        else:  # version 0.1 said so in the study's table alone
            listed = _listed(folder.parents[1] / "studies") if listed is None else listed
            study = listed.get(folder.name)
        if study is not None:
            found[folder.name] = str(study)
    return found


def best_trial(study: Path, names: Iterable[str]) -> str | None:
    """The run of a study's best finished trial, if it is among `names`."""
    there = set(names)
    scored = [
        (float(row["valid_mean_auroc"]), row["run"])
        for row in _rows(study)
        if row.get("state") == _FINISHED and row.get("run") in there and _is_score(row)
    ]
    # Of equals the first, as the search itself has it.
    return max(scored, key=lambda one: one[0])[1] if scored else None


def _is_score(row: dict[str, str]) -> bool:
    try:
        return 0 <= float(row.get("valid_mean_auroc") or "nan") <= 1
    except ValueError:
        return False


def _listed(studies: Path) -> dict[str, str]:
    """The runs of all studies' trials, each with its study."""
    return {
        row["run"]: study.name
        for study in sorted(studies.glob("*/"))
        for row in _rows(study)
        if row.get("run")
    }


def _rows(study: Path) -> list[dict[str, str]]:
    """The rows of a study's table; none, where it cannot be read."""
    try:
        return list(csv.DictReader(io.StringIO(read_text(study / "trials.csv"), newline="")))
    except (OSError, ValueError, csv.Error):
        return []
