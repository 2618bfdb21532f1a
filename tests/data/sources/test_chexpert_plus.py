import json

import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.data.manifest import label_columns
from cxrtool.data.problems import Problems
from cxrtool.data.sources.chexpert import LABELS_BY
from cxrtool.data.sources.chexpert_plus import CHEXPERT_LABELS, SECTIONS
from cxrtool.data.sources.detect import open_source

HEAD = (
    "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,"
    "report,age,sex,race,split"
)
PATHS = [f"train/patient0000{n}/study1/view1_frontal.jpg" for n in (1, 2)]


@pytest.fixture
def folder(tmp_path):
    lines = [
        f'{path},x.dcm,Frontal,AP,{path[6:18]},1,"a, ""b""\nc",61,Female,White,{part}'
        for path, part in zip(PATHS, ("train", "valid"), strict=True)
    ]
    (tmp_path / "df_chexpert_plus_240401.csv").write_text("\n".join([HEAD, *lines, ""]))
    (tmp_path / "chexbert_labels").mkdir()
    for at, section in enumerate(SECTIONS):
        write(tmp_path, section, [at == 0, None])
    return tmp_path


def write(folder, section, edema):
    labels = dict.fromkeys(CHEXPERT_LABELS)
    rows = [
        json.dumps({"path_to_image": path, **labels, "Edema": value and 1.0})
        for path, value in zip(PATHS, edema, strict=True)
    ]
    (folder / "chexbert_labels" / f"{section}_fixed.json").write_text("\n".join(rows))


def read(folder, **options):
    problems = Problems()
    return open_source(PrepareConfig(data=folder, **options), folder, problems), problems.table()


@pytest.mark.parametrize("ending", ["png", "dcm"])
def test_the_table_and_its_labels_are_joined_and_images_found_in_either_form(folder, ending):
    for path in PATHS:
        place = folder / "PNG" / path.replace("jpg", ending)
        place.parent.mkdir(parents=True)
        place.touch()
    source, problems = read(folder)
    assert problems.empty
    rows = source.rows
    assert source.dataset == "chexpert-plus"
    assert rows["path"].tolist() == [f"PNG/{path.replace('jpg', ending)}" for path in PATHS]
    assert rows["patient_id"].tolist() == ["patient00001", "patient00002"]
    assert rows["study_id"].tolist() == ["patient00001/study1", "patient00002/study1"]
    assert rows["Edema"].tolist()[0] == 1
    assert rows["Edema"].isna().tolist() == [False, True]
    assert rows["age"].tolist() == [61, 61]
    assert source.official.tolist() == ["train", "valid"]
    assert rows["race"].tolist() == ["White", "White"]
    assert label_columns(rows) == list(CHEXPERT_LABELS)
    assert source.unused == {"df_chexpert_plus_240401.csv": ["path_to_dcm", "report"]}
    # The same people as in CheXpert, whose numbers they have.
    assert "chexpert" in source.origin.registers


@pytest.mark.parametrize("section", SECTIONS)
def test_the_section_that_labels_are_of_can_be_chosen(folder, section):
    source, _ = read(folder, labels_from=section)
    assert source.labels_by == {"train": f"CheXbert on the {section} of the reports"}
    assert (source.rows["Edema"][0] == 1) == (section == SECTIONS[0])
    assert source.labels_by != LABELS_BY


def test_an_image_without_labels_is_left_out_and_told(folder):
    first = (folder / "chexbert_labels" / "impression_fixed.json").read_text().splitlines()[0]
    (folder / "chexbert_labels" / "impression_fixed.json").write_text(first)
    source, problems = read(folder)
    assert source.rows["path"].tolist() == PATHS[:1]
    assert problems["kind"].tolist() == ["image without labels"]


def test_missing_labels_are_named(folder):
    (folder / "chexbert_labels" / "impression_fixed.json").unlink()
    with pytest.raises(DataError, match="holds no chexbert_labels/impression_fixed"):
        read(folder)
