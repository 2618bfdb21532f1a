"""`prepare` of a table with several readers' rows an image, as VinDr-CXR's is."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.config import READERS, PrepareConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import holds_shares, read_manifest
from cxrtool.workflows.prepare import prepare_manifest
from tests.conftest import Hearing
from tests.support.calling import call

LABELS = ["Edema", "Cardiomegaly"]
NAMES = "path=image_id,patient_id=image_id,reader=rad_id"
ANSWERS = {  # of R1, R8 and R9; an image of two readers, and one of one
    "0.png": [(1, 0), (1, 0), (0, 0)],
    "1.png": [(0, 1), (0, 1), (0, 1)],
    "2.png": [(1, 1), (0, "")],
    "3.png": [(-1, 0)],
}
EXPECTED = {  # Edema and Cardiomegaly of the four images
    "vote": [(1, 0), (0, 1), (-1, 1), (-1, 0)],
    "any": [(1, 0), (0, 1), (1, 1), (-1, 0)],
    "all": [(0, 0), (0, 1), (0, 1), (-1, 0)],
    "soft": [(0.667, 0), (0, 1), (0.5, 1), (-1, 0)],
}


@pytest.fixture
def table(tmp_path):
    """A CSV beside its images."""
    folder = tmp_path / "own"
    folder.mkdir()
    rows = []
    for seed, (name, answers) in enumerate(ANSWERS.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        for reader, cells in zip(("R1", "R8", "R9"), answers, strict=False):
            rows.append([name, reader, *cells])
    path = folder / "labels.csv"
    pd.DataFrame(rows, columns=["image_id", "rad_id", *LABELS]).to_csv(path, index=False)
    return path


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "cxr")


def prepare(table, workspace, reporter=SILENT, **options):
    options = {"columns": NAMES, "workers": 0, "check_images": "none", **options}
    return prepare_manifest(PrepareConfig(data=table, **options), workspace, reporter)


@pytest.mark.parametrize("rule", READERS)
def test_several_readers_are_one_row_in_the_manifest(table, workspace, rule):
    result = prepare(table, workspace, readers=rule)
    manifest = read_manifest(workspace.manifest)
    assert manifest["path"].tolist() == list(ANSWERS)
    np.testing.assert_array_equal(manifest[LABELS], np.float32(EXPECTED[rule]))
    assert holds_shares(workspace.manifest) == (rule == "soft")
    assert "rad_id" not in manifest.columns
    assert result.readers.images == {"1": 1, "2": 1, "3": 2}
    written = json.loads(workspace.data_info.read_text())["readers"]
    assert written == result.readers.as_json()
    edema = {"several": 3, "disagree": 2, "undecided": int(rule in ("vote", "soft"))}
    assert written["labels"]["Edema"] == edema
    listed = pd.read_csv(workspace.problems)
    assert listed["where"].tolist() == ["0.png", "2.png"]
    assert listed["detail"].iloc[0] == "Edema 2 positive, 1 negative"


def test_shares_are_counted_by_the_majority(table, workspace):
    counts = prepare(table, workspace, readers="soft").labels["Edema"]
    assert counts == {"positive": 1, "negative": 1, "uncertain": 1, "divided": 1, "blank": 0}
    assert ",0,0.667\n" in workspace.manifest.read_text()


def test_without_a_rule_nothing_is_written(table, workspace):
    with pytest.raises(DataError, match=r"labels.csv: 2 images .*0.png \(Edema\).*--readers"):
        prepare(table, workspace)
    assert not workspace.manifest.exists()
    assert not workspace.problems.exists()


def test_the_rule_is_remembered_and_can_be_changed(table, workspace):
    prepare(table, workspace, readers="soft")
    before = workspace.manifest.read_bytes()
    hearing = Hearing()
    again = {"columns": None, "reporter": hearing}
    assert prepare(table, workspace, **again).readers.rule == "soft"
    assert workspace.manifest.read_bytes() == before
    assert "--readers soft, as before" in hearing.notes
    assert prepare(table, workspace, **again, readers="any").readers.rule == "any"


def test_that_readers_disagree_is_nothing_for_strict(table, workspace):
    assert prepare(table, workspace, readers="vote", strict=True).images == 4


def test_a_rule_stands_in_a_config_file_and_the_counts_are_printed(table, workspace, tmp_path):
    config = tmp_path / "own.yaml"
    names = "{path: image_id, patient_id: image_id, reader: rad_id}"
    config.write_text(f"readers: soft\ncheck_images: none\ncolumns: {names}\n")
    done = call("prepare", table, "--config", config, "-w", workspace.folder)
    assert done.exit_code == 0, done.stderr
    assert "9 rows of readers read; 4 images of 4 patients kept" in done.stdout
    told = "readers, combined by soft: 1 image with 1 reader, 1 image with 2 readers,"
    assert told in done.stdout
    done = call("prepare", table, "-w", workspace.folder, "--json")
    assert json.loads(done.stdout)["readers"]["rule"] == "soft"


def test_a_reader_column_that_is_missing_is_an_error(table, workspace):
    with pytest.raises(UsageError, match=r"column of labels\.csv 'reader' is not known"):
        prepare(table, workspace, columns="path=image_id,patient_id=image_id,reader=reader")


def test_a_fraction_is_a_label_only_where_shares_were_prepared(table, workspace):
    frame = pd.read_csv(table).astype({"Edema": object})
    frame.loc[0, "Edema"] = "0.5"
    frame.to_csv(table, index=False)
    result = prepare(table, workspace, readers="soft")
    assert result.problems["label value"] == 1
    assert result.readers.images == {"1": 1, "2": 2, "3": 1}
    prepare(table, workspace, readers="any")
    text = workspace.manifest.read_text()
    workspace.manifest.write_text(text.replace(",0,-1\n", ",0,0.5\n"))
    with pytest.raises(DataError, match=r"1 label value other than 1, 0, -1 or blank .*'0.5'"):
        read_manifest(workspace.manifest)


def test_where_every_reader_contradicts_himself_only_the_problems_are_written(table, workspace):
    frame = pd.read_csv(table)
    other = frame.assign(Edema=1 - frame["Edema"].abs())
    pd.concat([frame, other]).to_csv(table, index=False)
    with pytest.raises(DataError, match=r"no row can be used \(9 reader contradicts"):
        prepare(table, workspace, readers="vote")
    assert not workspace.manifest.exists()


@pytest.mark.parametrize("cell", ["1.5", "-0.5", "half"])
def test_a_cell_that_is_no_share_is_refused(table, workspace, cell):
    prepare(table, workspace, readers="soft")
    text = workspace.manifest.read_text()
    workspace.manifest.write_text(text.replace(",0,0.667\n", f",0,{cell}\n"))
    with pytest.raises(DataError, match="1 label value other than 0 to 1, -1 or blank"):
        read_manifest(workspace.manifest)
