"""The data behind an evaluation, as the files of a workspace tell them: rows, parts, problems."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cxrtool.core.errors import DataError, RunError
from cxrtool.core.files import read_text, sha256
from cxrtool.core.json_files import read_json
from cxrtool.core.run_cards import RunCard
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import read_manifest, read_split


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """What is known of a prepared data set; of each file that is missing, nothing."""

    rows: pd.DataFrame
    """The manifest."""
    parts: "pd.Series[str] | None" = None
    """The part of the split that each row is in; None: the data have no parts, or none is known."""
    as_trained: bool = True
    """Whether the split is the one that the run was trained with."""
    facts: Mapping[str, Any]
    """What data.json counts."""
    left_out: list[tuple[str, str]] | None = None
    """Kind and place of each problem that cost a row or an image; None: not known."""

    def counts(self, part: str | None = None) -> tuple[int, int]:
        """Images and patients: of a part, or of all."""
        rows = self.rows if part is None or self.parts is None else self.rows[self.parts == part]
        return len(rows), int(rows["patient_id"].nunique())


def read_cohort(workspace: Workspace, card: RunCard | None = None) -> Cohort | None:
    """Read what a workspace knows of its data; None where it has no manifest that can be read.

    Args:
        workspace: where the data were prepared.
        card: of the run whose training parts are meant; None: the data have no parts here.
    """
    try:
        rows = read_manifest(workspace.manifest)
    except (DataError, OSError):
        return None
    parts, as_trained = (None, True) if card is None else _parts(workspace, rows, card)
    return Cohort(
        rows=rows,
        parts=parts,
        as_trained=as_trained,
        facts=_facts(workspace),
        left_out=_left_out(workspace),
    )


def _parts(
    workspace: Workspace, rows: pd.DataFrame, card: RunCard
) -> "tuple[pd.Series[str] | None, bool]":
    """The parts, those of the run's own folds too, and whether they are as it was trained."""
    try:
        same = sha256(workspace.split) == card.split_sha256
        # Nobody's split is that of a network whose training others chose.
        as_trained = same or card.published is not None
        # Another split knows no such fold.
        return read_split(workspace.split, rows, card.fold if same else None), as_trained
    except (DataError, OSError):
        return None, False


def _facts(workspace: Workspace) -> dict[str, Any]:
    try:
        return read_json(workspace.data_info)
    except (RunError, OSError):
        return {}


def _left_out(workspace: Workspace) -> list[tuple[str, str]] | None:
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(workspace.problems), newline="")))
        return [(row["kind"], row["where"]) for row in rows if row["kept"] == "no"]
    except (OSError, ValueError, KeyError, csv.Error):
        return None
