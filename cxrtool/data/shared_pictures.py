"""Patients who share a picture, in one data set or in two: one person, or two mixed up."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.json_files import JsonResult
from cxrtool.core.workspace import Workspace, workspace_option
from cxrtool.data.near_pictures import near_groups
from cxrtool.data.pictures import Pictures, keys_of, pictures_of, read_pictures
from cxrtool.data.problems import Problems

NEAR, ELSEWHERE, OWNER_ELSEWHERE = "near-duplicate", "picture elsewhere", "patient elsewhere"
"""The kinds of problems that are noted here."""


def pictures_of_table(table: pd.DataFrame) -> Pictures:
    """The fingerprints in rows of pictures.csv, in their order."""
    return pictures_of((table["exact"] + table["looks"]).tolist())


def check_near(pictures: pd.DataFrame, rows: pd.DataFrame, problems: Problems) -> None:
    """Note pictures that look like another patient's, but are not equal to it; all of them stay.

    `pictures` are rows of pictures.csv, `rows` the manifest's, of at least these images.
    """
    known = pictures_of_table(pictures)
    paths = pictures["path"].to_numpy(dtype=object)
    owners = rows.set_index("path")["patient_id"].reindex(pictures["path"]).to_numpy(dtype=object)
    _, first, group = np.unique(near_groups(known.looks), return_index=True, return_inverse=True)
    leader = first[group]
    exact = keys_of(known.exact)
    found = np.flatnonzero((owners != owners[leader]) & (exact != exact[leader]))
    details = [f"looks like another patient's {paths[leader[row]]}" for row in found]
    problems.add(NEAR, paths[found].tolist(), details, kept=True)


def sharing_groups(
    patients: NDArray[np.object_], pictures: Pictures, rows: NDArray[np.intp]
) -> NDArray[np.object_]:
    """Of each image the patient who stands for all those who share a picture with its own.

    Also by way of others. A patient who shares none stands for itself, so that nothing changes
    where no picture is shared.

    Args:
        patients: (n,) of each image.
        pictures: fingerprints of some of them.
        rows: the places of these among the n.

    Returns:
        (n,) of each group the first by name.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, person = np.unique(patients.astype(str), return_inverse=True)
    groups = near_groups(pictures.looks)
    persons = person[rows]
    # Patients and pictures are the nodes: who has a picture is linked to it.
    count = len(names) + (int(groups.max()) + 1 if len(groups) else 0)
    links = (np.ones(len(rows), bool), (persons, len(names) + groups))
    _, component = connected_components(coo_array(links, shape=(count, count)), directed=False)
    _, first, place = np.unique(component[: len(names)], return_index=True, return_inverse=True)
    found: NDArray[np.object_] = names[first[place]][person].astype(object)
    return found


@dataclass(frozen=True, kw_only=True)
class SharedPictures(JsonResult):
    """How many patients of a split share pictures with others, and whether they are together."""

    patients: int
    groups: int
    """That these patients form."""
    largest: int
    """Patients in the largest of them."""
    in_two_parts: int
    """Groups whose patients are in more than one part."""

    @classmethod
    def of_split(cls, split: pd.DataFrame) -> "SharedPictures":
        """Of a table with `patient_id`, `owner` (see `sharing_groups`) and `split`."""
        groups = split.groupby("owner")
        people = groups["patient_id"].nunique()
        shared = people[people > 1]
        parts = groups["split"].nunique().loc[shared.index]
        return cls(
            patients=int(shared.sum()),
            groups=len(shared),
            largest=int(shared.max()) if len(shared) else 0,
            in_two_parts=int((parts > 1).sum()),
        )


def owners_of_images(workspace: Workspace, manifest: pd.DataFrame) -> NDArray[np.object_] | None:
    """`sharing_groups` of a workspace's images; None where it has no fingerprints.

    Raises:
        DataError: pictures.csv was altered.
    """
    if not workspace.pictures.is_file():
        return None
    known = read_pictures(workspace.pictures)
    paths = manifest["path"].tolist()
    rows = np.array([row for row, path in enumerate(paths) if path in known], np.intp)
    pictures = pictures_of([known[paths[row]] for row in rows])
    return sharing_groups(manifest["patient_id"].to_numpy(dtype=object), pictures, rows)


def rows_apart(
    pictures: pd.DataFrame, rows: pd.DataFrame, others: Sequence[Workspace], problems: Problems
) -> pd.DataFrame:
    """The rows without those of patients who have a picture that is in another workspace too.

    All that is left out is noted: the pictures with their counterparts, the patients' others.

    Args:
        pictures: rows of pictures.csv, of at least the images of `rows`.
        rows: a manifest's.
        others: the workspaces.
        problems: where it is noted.

    Raises:
        DataError: the fingerprints of one of them were altered.
    """
    table = pictures.set_index("path").loc[rows["path"]].reset_index()
    own = pictures_of_table(table)
    paths = rows["path"].to_numpy(dtype=object)
    shared = np.zeros(len(rows), bool)
    for other in others:
        known = read_pictures(other.pictures)
        places = own.counterparts(pictures_of(list(known.values())))
        names = list(known)
        found = np.flatnonzero((places >= 0) & ~shared)
        details = [f"looks like {names[places[row]]} of {other.folder}" for row in found]
        problems.add(ELSEWHERE, paths[found].tolist(), details, kept=False)
        shared[found] = True
    left_out = rows["patient_id"].isin(rows["patient_id"][shared]).to_numpy(dtype=bool)
    beside = paths[left_out & ~shared].tolist()
    problems.add(OWNER_ELSEWHERE, beside, "another picture of the patient is elsewhere", kept=False)
    return rows[~left_out].reset_index(drop=True)


def other_workspaces(folders: Sequence[Path], workspace: Workspace) -> list[Workspace]:
    """The workspaces whose pictures are to be compared with those of one.

    Raises:
        DataError: one of them is none, or has no fingerprints.
        UsageError: one of them is `workspace` itself.
    """
    for folder in folders:
        if folder.resolve() == workspace.folder.resolve():
            raise UsageError(f"--apart-from {folder} is the workspace itself: name others")
        if not Workspace(folder).data_info.is_file():
            raise DataError(
                f"--apart-from {folder}: there is no workspace: name the folder of a prepared one"
            )
        if not Workspace(folder).pictures.is_file():
            raise DataError(
                f"--apart-from {folder}: it has no fingerprints of its pictures: run `cxrtool "
                f"prepare{workspace_option(folder)}` again, which makes them"
            )
    return [Workspace(folder) for folder in folders]
