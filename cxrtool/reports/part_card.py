"""What a page says of a part beside its figures: who is in it, where the run failed, the cost."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cxrtool.core.csv_tables import FIRST_ROW, read_table
from cxrtool.core.errors import DataError
from cxrtool.core.runs import RunFolder
from cxrtool.evaluation.run_part import Part, own_workspace
from cxrtool.evaluation.scoring import Scored
from cxrtool.images.errors import ImageError
from cxrtool.reports.card import Card
from cxrtool.reports.cohort import Cohort, read_cohort
from cxrtool.reports.compute import compute_used
from cxrtool.reports.failures import Key, Lines, Sources, worst_failures
from cxrtool.reports.flow import flow_of
from cxrtool.reports.pictures import thumbnail
from cxrtool.reports.table_one import table_one

CURVES = "The training: losses, AUROC on valid, learning rate"
"""The caption of the training's curves."""


def complete_card(
    card: Card,
    part: Part,
    scored: Scored,
    environment: Mapping[str, Any],
    *,
    show_images: bool = False,
) -> Card:
    """The card of a run with what its workspace knows of the part that was scored.

    Args:
        card: of the run.
        part: that was scored.
        scored: its scores.
        environment: what the run's environment.json holds; nothing where that is missing.
        show_images: whether the worst failures are shown as pictures.

    Raises:
        DataError: one of them cannot be read.
    """
    cohorts = _cohorts(part)
    result, scored_on = scored.result, cohorts.get(part.name)
    file = part.place.predictions(part.scores_stem)
    rows = _rows(part)
    sources = Sources(
        lines=_lines(file, rows),
        table=file.relative_to(part.run.path).as_posix(),
        pictures=partial(_pictures, part.info.folder, rows) if show_images else None,
    )
    return replace(
        card,
        flow=flow_of(scored_on, result) if scored_on else None,
        as_trained=scored_on is None or scored_on.as_trained,
        table_one=table_one(cohorts, list(result.labels), part.protocol) if cohorts else None,
        failures=worst_failures(scored, sources),
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


def _rows(part: Part) -> dict[Key, list[str]]:
    """The paths of each image, and of all images of each study."""
    found: dict[Key, list[str]] = {}
    columns = (part.rows[name].tolist() for name in ("path", "patient_id", "study_id"))
    for path, patient, study in zip(*columns, strict=True):
        for key in (path, study):
            found.setdefault((patient, key), []).append(path)
    return found


def _lines(file: Path, rows: Mapping[Key, Sequence[str]]) -> Lines:
    """Where the table of predictions has each image, and all images of each study."""
    try:
        paths = read_table(file, ("path",))["path"].tolist()
    except DataError:
        return {}
    line_of = {path: line for line, path in enumerate(paths, start=FIRST_ROW)}
    return {key: [line_of[one] for one in of if one in line_of] for key, of in rows.items()}


def _pictures(folder: Path, rows: Mapping[Key, Sequence[str]], key: Key) -> list[str]:
    """The images of a row, small, in the order of the manifest."""
    try:
        return [thumbnail(folder / path) for path in rows.get(key, ())]
    except ImageError as error:
        raise DataError(
            f"{error}: --show-images needs it; leave it out, or mend the file"
        ) from None
