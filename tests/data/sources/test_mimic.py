import gzip

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT, read_manifest, write_manifest
from cxrtool.data.problems import Problems
from cxrtool.data.sources import mimic as mimic

LABELS = list(CHEXPERT_LABELS)
IMAGES = (
    ("02aa804e-bde0afdd", "10000032", "50414267", "PA"),
    ("174413ec-4ec4c1f7", "10000032", "50414267", "LATERAL"),
    ("2a2277a9-b0ded155", "10000032", "53189527", "AP"),
    ("e084de3b-be89b11e", "10000764", "57375967", "LL"),
    ("68b5c4b1-227d0485", "10000764", "57375967", "RL"),
    ("abea5eb9-b7c32823", "11000898", "50771383", "AP AXIAL"),
    ("cf0ed3ac-3a6a3e3d", "11000898", "50771383", "SWIMMERS"),
    ("d41b6a4c-58f3f8e9", "11000898", "54205396", ""),
)
STUDIES = tuple(dict.fromkeys(row[1:3] for row in IMAGES))


def metadata():
    frame = pd.DataFrame(IMAGES, columns=["dicom_id", "subject_id", "study_id", "ViewPosition"])
    frame.insert(3, "PerformedProcedureStepDescription", "CHEST (PA, LAT)")
    return frame.assign(Rows=3056, Columns=2544, StudyDate=21800506)


def labels():
    frame = pd.DataFrame(STUDIES, columns=["subject_id", "study_id"])
    for column, label in enumerate(sorted(LABELS)):
        values = ["1.0", "0.0", "-1.0", ""]
        frame[label] = [values[(row + column) % 4] for row in range(len(frame))]
    return frame


def split():
    frame = metadata()[["dicom_id", "study_id", "subject_id"]]
    return frame.assign(
        split=["train", "train", "validate", "test", "test", "train"] + ["train"] * 2
    )


def write(folder, ending=".csv.gz", release="2.0.0", **tables):
    folder.mkdir(exist_ok=True)
    for name, frame in tables.items():
        if frame is not None:
            frame.to_csv(folder / f"mimic-cxr-{release}-{name}{ending}", index=False)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "mimic", metadata=metadata(), chexpert=labels(), split=split())


def read(folder):
    problems = Problems()
    return mimic.read(folder, PrepareConfig(), problems), problems


def test_a_download_is_recognised(folder, tmp_path):
    assert mimic.holds(folder)
    assert not mimic.holds(tmp_path)
    assert mimic.holds(write(tmp_path / "plain", ".csv", metadata=metadata()))


def test_every_row_of_the_metadata_becomes_a_row_of_the_manifest(folder):
    source, problems = read(folder)
    rows = source.rows
    assert problems.counts() == {}
    assert list(rows.columns) == [*ABOUT, *LABELS]
    assert rows["path"][0] == "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
    assert rows["path"][5] == "files/p11/p11000898/s50771383/abea5eb9-b7c32823.jpg"
    assert rows["patient_id"].tolist() == [f"p{row[1]}" for row in IMAGES]
    assert rows["study_id"].tolist() == [f"p{row[1]}/s{row[2]}" for row in IMAGES]
    assert rows["orientation"].tolist() == [row[3] for row in IMAGES]
    assert (
        rows["view"].tolist() == ["frontal", "lateral", "frontal"] + ["lateral"] * 2 + ["other"] * 3
    )
    assert set(rows["sex"]) == {""}
    assert rows["age"].isna().all()
    assert set(rows["source"]) == set(source.labels_by) == {"train"}
    assert (rows[LABELS].dtypes == np.float32).all()


def test_the_rows_are_a_manifest(folder, tmp_path):
    rows = read(folder)[0].rows
    write_manifest(rows, tmp_path / "manifest.csv")
    back = read_manifest(tmp_path / "manifest.csv")
    np.testing.assert_array_equal(back[LABELS], rows[LABELS])


def test_an_image_has_the_labels_of_its_study(folder):
    write(folder, chexpert=labels().sample(frac=1, random_state=1))
    rows = read(folder)[0].rows
    expected = labels().set_index(["subject_id", "study_id"])[LABELS].apply(pd.to_numeric)
    for row, (_, subject, study, _) in zip(rows[LABELS].to_numpy(), IMAGES, strict=True):
        np.testing.assert_array_equal(row, expected.loc[(subject, study)])


def test_a_study_of_another_subject_lends_no_labels(folder):
    write(folder, chexpert=labels().replace({"subject_id": {"10000764": "10000765"}}))
    source, problems = read(folder)
    assert "p10000764" not in set(source.rows["patient_id"])
    assert problems.counts(kept=False) == {"study without labels": 2}


def test_a_study_without_labels_is_left_out_and_named(folder):
    write(folder, chexpert=labels().iloc[1:])
    source, problems = read(folder)
    assert len(source.rows) == len(IMAGES) - 2
    table = problems.table()
    assert set(table["kind"]) == {"study without labels"}
    assert table["where"].tolist() == [f"mimic-cxr-2.0.0-metadata.csv.gz line {n}" for n in (2, 3)]
    assert table["detail"].str.startswith("p10000032/s50414267").all()


def test_a_label_that_is_none_leaves_the_studys_images_out(folder):
    bad = labels()
    bad.loc[0, "Edema"] = "maybe"
    write(folder, chexpert=bad)
    source, problems = read(folder)
    assert len(source.rows) == len(IMAGES) - 2
    assert problems.counts(kept=False) == {"label value": 1, "study without labels": 2}
    write(folder, chexpert=labels())
    expected = read(folder)[0].rows[2:].reset_index(drop=True)
    pd.testing.assert_frame_equal(source.rows, expected)


def test_without_any_label_no_row_is_left(folder):
    write(folder, chexpert=labels().assign(Edema="maybe"))
    assert read(folder)[0].rows.empty


def test_a_study_labelled_twice_counts_once(folder):
    write(folder, chexpert=pd.concat([labels(), labels().iloc[[0]]]))
    source, problems = read(folder)
    assert problems.counts(kept=True) == {"study twice": 1}
    write(folder, chexpert=labels())
    pd.testing.assert_frame_equal(source.rows, read(folder)[0].rows)


def test_a_study_with_two_different_labels_is_refused(folder):
    changed = "0.0" if labels()["Edema"].iloc[0] == "1.0" else "1.0"
    write(folder, chexpert=pd.concat([labels(), labels().iloc[[0]].assign(Edema=changed)]))
    with pytest.raises(DataError, match=r"1 name in several rows .* \(Edema\)\): remove all but"):
        read(folder)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("dicom_id", "../../../etc/passwd"),
        ("dicom_id", ".."),
        ("dicom_id", ""),
        ("dicom_id", "a/b"),
        ("subject_id", ".."),
        ("subject_id", "p10000032"),
        ("study_id", "../50414267"),
        ("study_id", ""),
    ],
)
def test_what_no_path_can_be_made_of_is_left_out_and_named(folder, column, text):
    bad = metadata()
    bad.loc[1, column] = text
    write(folder, metadata=bad)
    source, problems = read(folder)
    assert len(source.rows) == len(source.official) == len(IMAGES) - 1
    assert problems.counts() == {"unreadable path": 1}
    assert problems.table()["where"].tolist() == ["mimic-cxr-2.0.0-metadata.csv.gz line 3"]


def test_a_table_of_something_else_is_refused(folder):
    write(folder, metadata=metadata().assign(subject_id="x"))
    with pytest.raises(DataError, match=r"no row has a subject.*\(x, 50414267"):
        read(folder)


def test_the_official_parts_are_those_of_the_split(folder):
    write(folder, split=split().iloc[::-1].drop(index=0))
    official = read(folder)[0].official
    assert official.tolist() == ["", "train", "valid", "test", "test", "train", "train", "train"]


def test_the_official_parts_stay_with_their_rows_when_one_is_left_out(folder):
    write(folder, chexpert=labels().drop(index=0))
    source, _ = read(folder)
    assert source.official.tolist() == ["valid", "test", "test", "train", "train", "train"]
    assert source.official.index.equals(source.rows.index)


def test_an_unknown_part_is_told_and_is_none(folder):
    write(folder, split=split().replace({"split": {"validate": "dev"}}))
    source, problems = read(folder)
    assert source.official[2] == ""
    assert problems.counts(kept=True) == {"official part": 1}


def test_the_split_may_be_missing(tmp_path):
    folder = write(tmp_path / "x", metadata=metadata(), chexpert=labels())
    source, problems = read(folder)
    assert source.official is None
    assert problems.counts() == {}
    assert source.tables == ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-chexpert.csv.gz")


def test_plain_and_gzipped_tables_say_the_same(folder, tmp_path):
    plain = write(tmp_path / "p", ".csv", metadata=metadata(), chexpert=labels(), split=split())
    first, second = read(folder)[0], read(plain)[0]
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert first.official.tolist() == second.official.tolist()


def test_of_two_releases_the_later_is_read(folder):
    write(folder, release="2.1.0", metadata=metadata().iloc[:3])
    assert len(read(folder)[0].rows) == 3


def test_other_tables_beside_are_not_mistaken(folder):
    for name in ("2.1.0-test-set-labeled", "2.0.0-negbio", "2.1.0-old-chexpert", "2.1.0-my-split"):
        (folder / f"mimic-cxr-{name}.csv").write_text("study_id,Cardiomegaly\n1,0\n")
    source, _ = read(folder)
    assert len(source.rows) == len(IMAGES)
    assert all("2.0.0" in name for name in source.tables)


def test_what_is_missing_in_any_table_is_told_at_once(folder):
    write(
        folder,
        metadata=metadata().drop(columns="ViewPosition"),
        chexpert=labels().drop(columns=["Edema", "Fracture"]),
        split=split().drop(columns="split"),
    )
    with pytest.raises(DataError) as told:
        read(folder)
    for what in ("column ViewPosition", "column Edema, Fracture", "column split"):
        assert what in str(told.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError) as told:
        read(write(tmp_path / "x", split=split()))
    assert "mimic-cxr-*-metadata.csv[.gz]" in str(told.value)
    assert "mimic-cxr-*-chexpert.csv[.gz]" in str(told.value)


def test_a_download_that_was_cut_off_is_told(folder):
    table = folder / "mimic-cxr-2.0.0-metadata.csv.gz"
    table.write_bytes(gzip.compress(gzip.decompress(table.read_bytes()))[:-20])
    with pytest.raises(DataError, match=r"metadata\.csv\.gz cannot be read"):
        read(folder)


def test_a_radiologists_labels_of_the_test_part_are_taken_where_they_are(folder):
    given = pd.DataFrame({"study_id": ["57375967"], "Airspace Opacity": ["1.0"], "Edema": ["0.0"]})
    write(folder, ".csv", "2.1.0", **{"test-set-labeled": given})
    plain = labels().set_index("study_id")
    source, problems = read(folder)
    rows = source.rows
    theirs = rows["study_id"] == "p10000764/s57375967"
    assert problems.counts() == {}
    assert (rows["source"] == "valid").tolist() == theirs.tolist()
    assert source.labels_by["valid"] == "a radiologist who read MIMIC's reports"
    known = rows.loc[theirs, LABELS].dropna(axis=1)
    assert known.to_dict("list") == {"Lung Opacity": [1, 1], "Edema": [0, 0]}
    other = rows.loc[~theirs].iloc[0]
    cell = plain.loc["50414267", "Edema"]
    np.testing.assert_array_equal(other["Edema"], float(cell) if cell else np.nan)


def test_lung_opacity_may_be_called_airspace_opacity(folder):
    before = read(folder)[0].rows
    renamed = labels().rename(columns={"Lung Opacity": "Airspace Opacity"})
    write(folder, chexpert=renamed)
    pd.testing.assert_frame_equal(read(folder)[0].rows, before)


def test_whose_labels_can_be_chosen_and_negbios_alone_are_taken(folder):
    other = labels().assign(Edema="1.0")
    write(folder, negbio=other)
    assert (read(folder)[0].rows["Edema"] != 1).any()
    problems = Problems()
    source = mimic.read(folder, PrepareConfig(labels_from="negbio"), problems)
    assert (source.rows["Edema"] == 1).all()
    assert "mimic-cxr-2.0.0-negbio.csv.gz" in source.tables
    (folder / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    assert (read(folder)[0].rows["Edema"] == 1).all()
