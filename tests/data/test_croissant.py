"""croissant.json beside a manifest, read by MLCommons' own library."""

import json

import mlcroissant
import pandas as pd
import pytest

from cxrtool.core.files import sha256
from cxrtool.data.croissant import write_croissant


@pytest.fixture(scope="module")
def described(prepared_once):
    return mlcroissant.Dataset(jsonld=str(prepared_once.croissant))


def test_it_is_valid_and_says_which_table_it_is(described, prepared_once):
    assert described.metadata.ctx.issues.errors == set()
    (table,) = described.metadata.distribution
    assert (table.sha256, table.content_url) == (sha256(prepared_once.manifest), "manifest.csv")
    assert str(described.metadata.ctx.conforms_to.value).endswith("/1.0")
    assert "drawings" in described.metadata.description


def test_the_table_is_read_by_it_with_all_columns(described, prepared_once):
    """Whose bytes are checked against the SHA-256 on the way."""
    manifest = pd.read_csv(prepared_once.manifest)
    records = list(described.records(record_set="images"))
    assert len(records) == len(manifest)
    first, row = records[0], manifest.iloc[0]
    columns = {name.replace(" ", "_") for name in manifest.columns}
    assert {name.removeprefix("images/") for name in first} == columns
    assert first["images/path"].decode() == row["path"]
    assert first["images/age"] == row["age"]
    for label in ("Edema", "No Finding", "Pleural Effusion"):
        value = first[f"images/{label.replace(' ', '_')}"]
        assert (value == row[label]) or (pd.isna(value) and pd.isna(row[label]))


def test_labels_of_any_name_have_places_of_their_own(prepared):
    names = ["A B", "A_B", "Ödem/rechts"]
    manifest = pd.DataFrame(
        {"path": ["a.jpg"], "patient_id": ["1"], **{name: [1.0] for name in names}}
    )
    manifest.to_csv(prepared.manifest, index=False)
    origin = prepared.read_data_info().origin
    write_croissant(prepared, manifest, dataset="csv", origin=origin, blank="absent")
    records = mlcroissant.Dataset(jsonld=str(prepared.croissant)).records(record_set="images")
    assert sorted(next(iter(records))) == [
        *("images/A_B", "images/A_B_", "images/_dem_rechts", "images/path", "images/patient_id")
    ]


def test_it_holds_no_row_of_the_table(prepared_once):
    text = prepared_once.croissant.read_text()
    manifest = pd.read_csv(prepared_once.manifest)
    for column in ("path", "patient_id", "study_id"):
        assert not any(value in text for value in manifest[column])
    assert str(prepared_once.folder) not in text
    assert "data" not in json.loads(text)["recordSet"][0]
