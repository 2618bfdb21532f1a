"""Patients who share a picture: noted, kept together in a split, left out across workspaces."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.config import PrepareConfig, SplitConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.data.pictures import Pictures
from cxrtool.data.shared_pictures import sharing_groups
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from tests.conftest import Hearing


def patient_of(path):
    return next(part for part in path.split("/") if part.startswith("patient"))


def pairs_of_patients(data, count):
    """Frontal images of `count` pairs of patients of train.csv, a patient in one pair alone."""
    table = pd.read_csv(data / "train.csv")
    paths = table["Path"][table["Frontal/Lateral"] == "Frontal"].str.split("/", n=1).str[1]
    first = paths.groupby(paths.map(patient_of)).first().tolist()
    return list(zip(first[:count], first[count : 2 * count], strict=True))


def saved_smaller(source, target):
    with Image.open(source) as image:
        size = (image.width * 2 // 3, image.height * 2 // 3)
        image.resize(size).save(target, quality=70)


@pytest.fixture(scope="module")
def shared(drawn, tmp_path_factory):
    """A data set in which two patients have another's picture saved again, and one its very file.

    Gives the folder and the three pairs of images.
    """
    data = tmp_path_factory.mktemp("shared") / "CheXpert-v1.0-small"
    shutil.copytree(drawn.folder, data)
    pairs = pairs_of_patients(data, 3)
    for source, target in pairs[:2]:
        saved_smaller(data / source, data / target)
    shutil.copy(data / pairs[2][0], data / pairs[2][1])
    return data, pairs


def prepare(data, folder, **options):
    workspace = Workspace(folder)
    config = PrepareConfig(data=data, workers=0, **{"cache": False, **options})
    return prepare_manifest(config, workspace), workspace


@pytest.fixture(scope="module")
def workspace(shared, tmp_path_factory):
    return prepare(shared[0], tmp_path_factory.mktemp("shared-workspace") / "cxr")[1]


def problems(workspace):
    return pd.read_csv(workspace.problems, dtype=str, keep_default_na=False)


def test_near_pictures_of_two_patients_are_listed_and_kept(shared, workspace):
    listed = problems(workspace)
    pairs = {target: source for source, target in shared[1][:2]}
    near = listed[listed["kind"] == "near-duplicate"].set_index("where")
    assert set(near.index) == set(pairs)
    for target, source in pairs.items():
        assert near.loc[target, "detail"] == f"looks like another patient's {source}"
    assert (near["kept"] == "yes").all()
    # Equal ones are noted as such, and once.
    assert listed["where"][listed["kind"] == "picture twice"].tolist() == [shared[1][2][1]]
    assert set(read_manifest(workspace.manifest)["path"]) >= set(pairs)


def test_patients_who_share_a_picture_are_in_one_part_and_one_fold(shared, workspace):
    together = 0
    for seed in range(4):
        config = SplitConfig(sizes="40,30,30", folds=3, force=True)
        result = split_manifest(config, workspace, seed=seed)
        manifest = read_manifest(workspace.manifest)
        part = read_split(workspace.split, manifest).set_axis(manifest["path"])
        fold = pd.read_csv(workspace.split, dtype=str).set_index("path")["fold"]
        for source, target in shared[1]:
            assert part[source] == part[target]
            assert fold[source] == fold[target] or part[source] == "test"
            together += part[source] != "train"
        found = result.as_json()["shared_pictures"]
        assert found == {"patients": 6, "groups": 3, "largest": 2, "in_two_parts": 0}
    assert together  # and not because all of them are in the largest part


def test_where_no_picture_is_shared_a_split_is_as_without_fingerprints(prepared):
    def content():
        split_manifest(SplitConfig(force=True, folds=3), prepared, seed=5, reporter=hearing)
        return prepared.split.read_bytes()

    hearing = Hearing()
    before = content()
    assert not any("share a picture" in note for note in hearing.notes)
    prepared.pictures.unlink()
    assert content() == before
    assert any("share a picture are not looked for" in note for note in hearing.notes)


def test_groups_that_given_parts_tear_are_warned_of(shared, tmp_path):
    data, pairs = tmp_path / "CheXpert-v1.0-small", shared[1]
    shutil.copytree(shared[0], data)
    expert = pd.read_csv(data / "valid.csv")["Path"].str.split("/", n=1).str[1]
    expert = next(path for path in expert if "frontal" in path)
    saved_smaller(data / pairs[0][0], data / expert)
    workspace, hearing = prepare(data, tmp_path / "cxr")[1], Hearing()
    result = split_manifest(SplitConfig(), workspace, seed=1, reporter=hearing)
    assert result.shared_pictures.in_two_parts == 1
    assert any("1 group of patients who share a picture is in more" in w for w in hearing.warnings)


def test_patients_are_joined_also_by_way_of_others_and_others_stand_for_themselves():
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 256, (5, 32), dtype=np.uint8)
    exact = rng.integers(0, 256, (5, 16), dtype=np.uint8)
    # a and c share one picture, c and b another; d shares none, and e's has no fingerprint.
    pictures = Pictures(exact[[0, 0, 1, 1, 2]], looks[[0, 0, 1, 1, 2]])
    patients = np.array(["e", "c", "a", "c", "b", "d"], dtype=object)
    owners = sharing_groups(patients, pictures, np.array([2, 1, 3, 4, 5]))
    assert owners.tolist() == ["e", "a", "a", "a", "a", "d"]


def test_patients_of_another_workspace_are_left_out_and_listed(drawn, shared, tmp_path):
    """Half of the patients of the drawn data again, with other names and saved anew."""
    other = prepare(shared[0], tmp_path / "other")[1]
    result, workspace = prepare(drawn.folder, tmp_path / "cxr")
    before = read_manifest(workspace.manifest)
    assert result.images == len(before)
    result, workspace = prepare(drawn.folder, tmp_path / "cxr", apart_from=[other.folder])
    # All but the pictures that were replaced in the other data set are in both.
    replaced = {target for _, target in shared[1]}
    left = read_manifest(workspace.manifest)
    counts = before["patient_id"].value_counts()
    alone = {path for path in replaced if counts[patient_of(path)] == 1}
    assert set(left["path"]) == alone
    listed = problems(workspace)
    elsewhere = listed[listed["kind"] == "picture elsewhere"]
    assert set(elsewhere["where"]) == set(before["path"]) - replaced
    assert (elsewhere["kept"] == "no").all()
    beside = listed["where"][listed["kind"] == "patient elsewhere"]
    assert set(beside) == replaced - alone
    assert result.problems["picture elsewhere"] == len(elsewhere)
    assert result.images == len(left)


def test_apart_from_needs_fingerprints_of_both(drawn, prepared, tmp_path):
    options = {"check_images": "none", "cache": None, "apart_from": [prepared.folder]}
    with pytest.raises(UsageError, match="--apart-from compares pictures"):
        prepare(drawn.folder, tmp_path / "new", **options)
    with pytest.raises(UsageError, match="is the workspace itself"):
        prepare(drawn.folder, prepared.folder, apart_from=[prepared.folder])
    prepared.pictures.unlink()
    with pytest.raises(DataError, match=r"no fingerprints .* run `cxrtool prepare -w"):
        prepare(drawn.folder, tmp_path / "new", apart_from=[prepared.folder])
    with pytest.raises(DataError, match="there is no workspace"):
        prepare(drawn.folder, tmp_path / "new", apart_from=[tmp_path / "nothing"])
    assert not (tmp_path / "new" / "manifest.csv").exists()


def test_nothing_is_written_where_all_patients_are_elsewhere(drawn, prepared, tmp_path):
    with pytest.raises(DataError, match="all patients are in --apart-from too"):
        prepare(drawn.folder, tmp_path / "new", apart_from=[prepared.folder], cache=True)
    files = [path.name for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert [name for name in files if not name.startswith(".")] == ["problems.csv"]
