"""Another data set's folder as it is now: its rows, and which of its images are there."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, RunError, first_few
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.workspace import Workspace
from cxrtool.data.problems import Problems
from cxrtool.data.sources.detect import open_source

MOST_MISSING = 0.1
"""The share of a data set's images that may be missing: what is left of it is scored, and a warning
says so. Beyond it the rest may be anything."""
ALL_VIEWS = "all"
STATE = "state.json"
"""The file in a prepared workspace that says of which state of the data it is."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What of a data set's rows is not in its manifest."""

    unusable: int
    """Those of which the row or the image cannot be used."""
    other_views: int
    """Those of other views than the ones that were kept."""

    @classmethod
    def of(cls, workspace: Workspace) -> "LeftOut":
        """As `prepare` counted them; those of a workspace of before count as none."""
        facts = read_json(workspace.data_info)
        views, found, stay = (
            {str(name): int(count) for name, count in dict(facts.get(key, {})).items()}
            for key in ("view", "problems", "kept_problems")
        )
        kept = facts.get("views", ALL_VIEWS)
        others = [count for view, count in views.items() if kept not in (ALL_VIEWS, view)]
        unusable = sum(found.values()) - sum(stay.values()) if "kept_problems" in facts else 0
        return cls(unusable=unusable, other_views=sum(others))


@dataclass(frozen=True)
class DataState:
    """What a folder of data holds now."""

    fingerprint: str
    """Of the rows and of the images' sizes and times."""

    def is_of(self, workspace: Workspace) -> bool:
        """Whether a workspace was prepared of it as it is."""
        with suppress(RunError, OSError):
            whole = workspace.manifest.is_file() and workspace.data_info.is_file()
            return whole and read_json(workspace.folder / STATE).get("state") == self.fingerprint
        return False

    def seal(self, workspace: Workspace) -> None:
        """Note in a workspace that it was prepared of this state."""
        write_json(workspace.folder / STATE, {"state": self.fingerprint})


def look_at_data(config: PrepareConfig) -> DataState:
    """Read a data set's tables, and see whether its images are there; none is opened.

    Raises:
        DataError: no data set, or too many of its images are missing.
        UsageError: a format that does not fit what is named.
    """
    source = open_source(config, Path(), Problems())
    rows = source.rows
    if config.views != ALL_VIEWS:
        rows = rows[rows["view"] == config.views]
    paths = rows["path"].tolist()
    states = refuse_missing(source.folder, paths)
    content = hashlib.sha256(_text(rows).encode())
    content.update("\n".join(states).encode())
    return DataState(content.hexdigest())


def refuse_missing(folder: Path, paths: Sequence[str]) -> list[str]:
    """Length and time of each image's file, "" where there is none.

    Raises:
        DataError: there are no images, or more than `MOST_MISSING` are not there.
    """
    states = [_state(f"{folder}/{path}") for path in paths]
    absent = [path for path, state in zip(paths, states, strict=True) if not state]
    if len(absent) > MOST_MISSING * len(paths):
        raise DataError(
            f"{folder}: {len(absent):,} of {len(paths):,} images are missing "
            f"({first_few(absent)}): a score on the others may be a score of anything. Complete "
            "the folder; or prepare what is there (`cxrtool prepare DATA -w OTHER`) and give that "
            "workspace, --data OTHER"
        )
    return states


def _state(file: str) -> str:
    try:
        found = os.stat(file)  # noqa: PTH116 - a `Path` costs ten times as much
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _text(rows: pd.DataFrame) -> str:
    return str(rows.to_csv(index=False, lineterminator="\n"))
