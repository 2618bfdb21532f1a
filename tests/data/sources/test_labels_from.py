import json

import numpy as np
import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.detect import open_source
from cxrtool.data.sources.padchest import COLUMNS as PADCHEST_COLUMNS

PATHS = [f"train/patient{number:05}/study1/view1_frontal.jpg" for number in range(1, 5)]


def table(rows, path="Path"):
    """A table of CheXpert's labels: rows are {path: value of Edema}."""
    head = f"{path},Sex,Age,Frontal/Lateral,AP/PA,{','.join(CHEXPERT_LABELS)}"
    at = CHEXPERT_LABELS.index("Edema")
    lines = [
        f"{name},Male,50,Frontal,AP" + "," * (at + 1) + value + "," * (13 - at)
        for name, value in rows.items()
    ]
    return "\n".join([head, *lines]) + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.csv").write_text(table(dict.fromkeys(PATHS, "0")))
    return tmp_path


def read(folder, name, **options):
    problems = Problems()
    config = PrepareConfig(data=folder, labels_from=str(name), **options)
    return open_source(config, folder, problems), problems.table()


def test_another_labelers_table_is_joined_by_the_images_path_whatever_its_prefix(folder):
    rows = {f"CheXpert-v1.0/{path}": str(n % 2) for n, path in enumerate(reversed(PATHS))}
    (folder / "train_visualCheXbert.csv").write_text(table(rows))
    source, problems = read(folder, "train_visualCheXbert.csv")
    assert source.rows["Edema"].tolist() == [1, 0, 1, 0]
    assert source.labels_by == {"train": "visualCheXbert (Jain et al. 2021)"}
    assert source.tables == ("train.csv", "train_visualCheXbert.csv")
    assert problems.empty


def test_images_without_a_row_in_it_are_left_out_and_counted(folder):
    (folder / "mine.csv").write_text(table({PATHS[0]: "1", PATHS[2]: "x"}))
    source, problems = read(folder, folder / "mine.csv")
    assert source.rows["path"].tolist() == PATHS[:1]
    assert source.labels_by == {"train": "whoever made mine.csv"}
    assert problems["kind"].tolist() == ["label value", *["image without labels"] * 3]


def test_rows_of_another_source_keep_their_labels(folder):
    valid = [f"valid/patient{64541 + n}/study1/view1_frontal.jpg" for n in range(2)]
    (folder / "valid.csv").write_text(table(dict.fromkeys(valid, "1")))
    (folder / "mine.csv").write_text(table(dict.fromkeys(PATHS, "-1")))
    source, _ = read(folder, "mine.csv")
    assert source.rows["Edema"].tolist() == [-1] * 4 + [1] * 2


def test_json_lines_and_names_without_an_ending_are_read(folder):
    rows = [{"path_to_image": path[:-4], "Edema": 1.0, "Fracture": None} for path in PATHS]
    (folder / "x.json").write_text("\n".join(json.dumps(row) for row in rows))
    source, _ = read(folder, "x.json")
    assert source.rows["Edema"].tolist() == [1] * 4
    assert source.rows["Fracture"].isna().all()


def test_own_names_take_all_its_labels(folder):
    lines = [f"{path},1,yes,2024" for path in PATHS]
    (folder / "x.csv").write_text("\n".join(["Path,Edema,Hernia,year", *lines]))
    source, _ = read(folder, "x.csv", label_names="own")
    assert list(source.rows.columns[-2:]) == ["Edema", "Hernia"]
    assert source.rows["Hernia"].tolist() == [1] * 4
    assert "Fracture" not in source.rows


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"Path,Edema\n{PATHS[0]},1\n{PATHS[0]},0\n", "1 rows name what an earlier one"),
        ("Path,Edema\nother.jpg,1\n", "names none of the 4 images"),
        (f"Path,Age\n{PATHS[0]},1\n", "has no column of a label"),
        ("who,Edema\n1,1\n", "no column that names images or studies"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, content, told):
    (folder / "x.csv").write_text(content)
    with pytest.raises(DataError, match=told):
        read(folder, "x.csv")


def test_a_table_that_is_not_there_is_named_with_what_could_be(folder):
    with pytest.raises(UsageError, match=r"--labels-from y\.csv: there is no such table in"):
        read(folder, "y.csv")


def test_radiologists_labels_make_their_images_better_known(tmp_path):
    rows = [f"0000000{n}_000.png,No Finding,0,{n},50,M,PA" for n in range(1, 4)]
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender"
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([f"{head},View Position", *rows, ""]))
    name = "google2019_nih-chest-xray-labels.csv"
    (tmp_path / name).write_text(
        "Image Index,Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id\n"
        "00000002_000.png,NO,YES,YES,NO,test\n"
    )
    source, problems = read(tmp_path, name)
    assert problems.empty
    assert source.rows["source"].tolist() == ["train", "valid", "train"]
    assert source.labels_by["valid"] == "radiologists (Majkowska et al. 2020)"
    expert = source.rows.loc[1, list(CHEXPERT_LABELS)].dropna().to_dict()
    assert expert == {"Lung Opacity": 1, "Lung Lesion": 0, "Pneumothorax": 1, "Fracture": 0}
    assert source.rows["Pneumothorax"].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(source.rows["Fracture"], [np.nan, 0, np.nan])
    # By the tables' own names nothing of the others' labels is lost.
    source, _ = read(tmp_path, name, label_names="own")
    assert source.rows["No Finding"].fillna(-9).tolist() == [1, -9, 1]
    assert source.rows["Airspace opacity"].fillna(-9).tolist() == [-9, 1, -9]


CXR_LT = (
    *("Adenopathy", "Atelectasis", "Azygos Lobe", "Calcification of the Aorta", "Cardiomegaly"),
    *("Clavicle Fracture", "Consolidation", "Edema", "Emphysema", "Enlarged Cardiomediastinum"),
    *("Fibrosis", "Fissure", "Fracture", "Granuloma", "Hernia", "Hydropneumothorax", "Infarction"),
    *("Infiltration", "Kyphosis", "Lobar Atelectasis", "Lung Lesion", "Lung Opacity", "Mass"),
    *("Nodule", "Normal", "Pleural Effusion", "Pleural Other", "Pleural Thickening"),
    *("Pneumomediastinum", "Pneumonia", "Pneumoperitoneum", "Pneumothorax", "Pulmonary Embolism"),
    *("Pulmonary Hypertension", "Rib fracture", "Round(ed) atelectasis", "Subcutaneous Emphysema"),
    *("Support Devices", "Tortuous Aorta", "Tuberculosis"),
)
"""The 40 labels of its edition of 2024."""


def cxr_lt(image, **labels):
    """A row's labels: 0 but for those that are given."""
    return {"image": image, **dict.fromkeys(CXR_LT, "0"), **labels}


@pytest.fixture
def mimic(tmp_path):
    """Three images, and in a folder of its own CXR-LT's table, which names two of them."""
    images = [("aa-1", "10000032", "50414267"), ("bb-2", "10000032", "53189527")]
    images.append(("cc-3", "10000764", "57375967"))
    lines = [f"{dicom},{subject},{study},PA" for dicom, subject, study in images]
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").write_text(
        "\n".join(["dicom_id,subject_id,study_id,ViewPosition", *lines, ""])
    )
    blanks = "," * len(CHEXPERT_LABELS)
    lines = [f"{subject},{study}{blanks}" for _, subject, study in images]
    (tmp_path / "mimic-cxr-2.0.0-chexpert.csv").write_text(
        "\n".join([f"subject_id,study_id,{','.join(CHEXPERT_LABELS)}", *lines, ""])
    )
    (tmp_path / "cxr-lt-2024").mkdir()
    rows = [
        cxr_lt("cc-3", Normal="1"),
        cxr_lt("aa-1", **{"Lobar Atelectasis": "1", "Fracture": "1", "Support Devices": "1"}),
    ]
    about = {dicom: (subject, study) for dicom, subject, study in images}
    lines = [
        ",".join([row["image"], *about[row["image"]], "PA", *(row[name] for name in CXR_LT)])
        + f",files/p{about[row['image']][0][:2]}/{row['image']}.jpg"
        for row in rows
    ]
    head = f"dicom_id,subject_id,study_id,ViewPosition,{','.join(CXR_LT)},fpath"
    (tmp_path / "cxr-lt-2024" / "train_labeled.csv").write_text("\n".join([head, *lines, ""]))
    return tmp_path


def test_cxr_lts_table_gives_mimics_images_all_its_labels(mimic):
    source, problems = read(mimic, "cxr-lt-2024/train_labeled.csv", label_names="own")
    rows = source.rows
    assert rows["path"].str[-8:].tolist() == ["aa-1.jpg", "cc-3.jpg"]
    assert [name for name in rows.columns if name in CXR_LT] == list(CXR_LT)
    assert len(rows.columns) == len(read(mimic, "chexpert")[0].rows.columns) - 14 + 40
    positive = [{name for name in CXR_LT if row[name] == 1} for _, row in rows.iterrows()]
    assert positive == [{"Lobar Atelectasis", "Fracture", "Support Devices"}, {"Normal"}]
    assert source.labels_by == {"train": "CXR-LT: a labeler on reports (Holste et al. 2024)"}
    assert problems["kind"].tolist() == ["image without labels"]


def test_of_cxr_lts_labels_chexperts_are_taken_by_their_whole_names(mimic):
    rows = read(mimic, "cxr-lt-2024/train_labeled.csv")[0].rows
    assert list(rows.columns[-14:]) == list(CHEXPERT_LABELS)
    assert rows["No Finding"].tolist() == [0, 1]
    assert rows["Fracture"].tolist() == [1, 0]
    assert rows["Atelectasis"].tolist() == [0, 0]


@pytest.mark.parametrize("ending", [".png", ""])
def test_cxr_lts_table_is_joined_to_padchests_images(tmp_path, ending):
    lines = [f"{name}.png,7,20140915,S{name},P1,1930,M,PA,RNN_model,['normal']" for name in "ab"]
    table = tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    table.write_text("\n".join([",".join(PADCHEST_COLUMNS), *lines, ""]))
    (tmp_path / "cxr-lt-2026.csv").write_text(
        f"ImageID,Scoliosis,Nodule\nb{ending},1,0\na{ending},0,1\n"
    )
    source, problems = read(tmp_path, "cxr-lt-2026.csv", label_names="own")
    assert source.rows["path"].tolist() == ["7/a.png", "7/b.png"]
    assert source.rows[["Scoliosis", "Nodule"]].to_numpy().tolist() == [[0, 1], [1, 0]]
    assert "normal" not in source.rows
    assert problems.empty
