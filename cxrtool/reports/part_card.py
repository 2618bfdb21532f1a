"""What a page says of a part beside its figures: who is in it, where the run failed, the cost."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrtool.core.csv_tables import FIRST_ROW, read_table
from cxrtool.core.errors import DataError
from cxrtool.core.runs import RunFolder
from cxrtool.evaluation.run_part import Part, own_workspace
from cxrtool.evaluation.scoring import Scored
from cxrtool.reports.card import Card
from cxrtool.reports.cohort import Cohort, read_cohort
from cxrtool.reports.compute import compute_used
from cxrtool.reports.failures import Lines, worst_failures
from cxrtool.reports.flow import flow_of
from cxrtool.reports.table_one import table_one

CURVES = "The training: losses, AUROC on valid, learning rate"
"""The caption of the training's curves."""


def complete_card(card: Card, part: Part, scored: Scored, environment: Mapping[str, Any]) -> Card:
    """The card of a run with what its workspace knows of the part that was scored.

    Args:
        card: of the run.
        part: that was scored.
        scored: its scores.
        environment: what the run's environment.json holds; nothing where that is missing.
    """
    cohorts = _cohorts(part)
    result, scored_on = scored.result, cohorts.get(part.name)
    file = part.place.predictions(part.scores_stem)
    return replace(
        card,
        flow=flow_of(scored_on, result) if scored_on else None,
        as_trained=scored_on is None or scored_on.as_trained,
        table_one=table_one(cohorts, list(result.labels), part.protocol) if cohorts else None,
        failures=worst_failures(
            scored, _lines(file, part), file.relative_to(part.run.path).as_posix()
        ),
        compute=compute_used(part.run, environment),
    )


def training_curves(run: RunFolder) -> dict[str, Path]:
    """The picture of a run's training by its caption, where the run still has it."""
    return {CURVES: run.curves} if run.curves.is_file() else {}


def _cohorts(part: Part) -> dict[str, Cohort]:
    """The data that were scored, under the part's name; before them, the run's own, if others."""
    if part.split is not None:
        found = {part.name: read_cohort(part.workspace, part.card)}
    else:
        home = own_workspace(part.run, part.card, part.workspace)
        found = {"": read_cohort(home, part.card)} if home else {}
        found[part.name] = read_cohort(part.workspace)
    return {name: cohort for name, cohort in found.items() if cohort is not None}


def _lines(file: Path, part: Part) -> Lines:
    """Where the table of predictions has each image, and all images of each study."""
    try:
        paths = read_table(file, ("path",))["path"].tolist()
    except DataError:
        return {}
    line_of = {path: line for line, path in enumerate(paths, start=FIRST_ROW)}
    found: dict[tuple[str, str], list[int]] = {}
    columns = (part.rows[name].tolist() for name in ("path", "patient_id", "study_id"))
    for path, patient, study in zip(*columns, strict=True):
        if path in line_of:
            for key in (path, study):
                found.setdefault((patient, key), []).append(line_of[path])
    return found
