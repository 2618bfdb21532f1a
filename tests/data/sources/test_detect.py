from pathlib import Path

import pytest

from cxrtool.core.config import FORMATS as FORMAT_NAMES
from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources import detect as door

BLANKS = "," * len(CHEXPERT_LABELS)
LABELS = ",".join(CHEXPERT_LABELS)


def chexpert(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.csv").write_text(
        f"Path,Sex,Age,Frontal/Lateral,AP/PA,{LABELS}\n"
        f"train/patient00001/study1/view1_frontal.jpg,Male,50,Frontal,AP{BLANKS}\n"
    )


def nih(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Data_Entry_2017_v2020.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position\n00000001_000.png,Mass,0,1,58,M,PA\n"
    )


def mimic(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mimic-cxr-2.0.0-metadata.csv").write_text(
        "dicom_id,subject_id,study_id,ViewPosition\na-1,10000032,50414267,PA\n"
    )
    (folder / "mimic-cxr-2.0.0-chexpert.csv").write_text(
        f"subject_id,study_id,{LABELS}\n10000032,50414267{BLANKS}\n"
    )


def own(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "films.csv").write_text("path,patient_id,Edema\n1.png,p1,1\n")


WRITERS = {"chexpert": chexpert, "nih": nih, "mimic": mimic, "csv": own}


def dataset(data=None, here=Path("nowhere"), **options):
    config = PrepareConfig(data=data, **options)
    source = door.open_source(config, here, Problems())
    assert len(source.rows) == 1
    return source.dataset, source.folder


def test_there_is_a_module_for_every_format():
    assert ("auto", *door.FORMATS) == FORMAT_NAMES
    for name, source in door.FORMATS.items():
        assert name == source.name
        assert source.looks_for


@pytest.mark.parametrize("name", ["chexpert", "nih", "mimic"])
def test_a_data_set_is_recognised_by_what_lies_there(tmp_path, name):
    WRITERS[name](tmp_path)
    assert dataset(tmp_path) == dataset(tmp_path, format=name) == (name, tmp_path)


@pytest.mark.parametrize("name", ["chexpert", "nih", "mimic", "csv"])
def test_a_named_format_is_read_whatever_else_lies_there(tmp_path, name):
    for writer in WRITERS.values() if name != "csv" else [own]:
        writer(tmp_path)
    assert dataset(tmp_path, format=name)[0] == name


@pytest.mark.parametrize("name", ["auto", "nih"])
def test_a_data_set_one_folder_deeper_is_named(tmp_path, name):
    nih(tmp_path / "b" / "ChestX-ray14")
    with pytest.raises(DataError, match="name the folder that holds it"):
        dataset(tmp_path, format=name)
    with pytest.raises(DataError, match=r"b/ChestX-ray14 holds nih data: name that folder"):
        dataset(tmp_path / "b", format=name)


def test_a_folder_of_several_data_sets_needs_to_be_told_which(tmp_path):
    mimic(tmp_path)
    assert dataset(tmp_path)[0] == "mimic"
    nih(tmp_path)
    with pytest.raises(DataError, match=r"several data sets, nih \(.*\) and mimic .*--format nih"):
        dataset(tmp_path)
    assert dataset(tmp_path, format="mimic")[0] == "mimic"
    # What lies in the folder itself goes before what lies in one of CheXpert's names.
    chexpert(tmp_path / "CheXpert-v1.0-small")
    assert dataset(tmp_path, format="mimic")[0] == "mimic"


@pytest.mark.parametrize("inner", ["CheXpert-v1.0-small", "CheXpert-v1.0"])
@pytest.mark.parametrize("name", ["auto", "chexpert"])
def test_chexpert_is_found_inside_the_folder_that_is_given(tmp_path, inner, name):
    chexpert(tmp_path / inner)
    assert dataset(tmp_path, format=name) == ("chexpert", tmp_path / inner)


@pytest.mark.parametrize("place", ["CheXpert-v1.0-small", "CheXpert-v1.0"])
@pytest.mark.parametrize("base", ["", "data"])
@pytest.mark.parametrize("name", ["auto", "chexpert"])
def test_chexpert_is_found_beside_the_user(tmp_path, place, base, name):
    chexpert(tmp_path / base / place)
    assert dataset(here=tmp_path, format=name) == ("chexpert", tmp_path / base / place)
    assert door.lies_beside(tmp_path)


def test_without_data_it_is_said_where_was_looked(tmp_path):
    assert not door.lies_beside(tmp_path)
    with pytest.raises(
        DataError,
        match=r"looked for .*CheXpert-v1\.0-small/train\.csv.*data/CheXpert-v1\.0/train\.csv"
        r".*cxrtool prepare DATA.*CXRTOOL_DATA",
    ):
        dataset(here=tmp_path)


@pytest.mark.parametrize("name", ["nih", "mimic", "csv"])
def test_the_other_formats_have_to_be_named(tmp_path, name):
    WRITERS[name](tmp_path)
    with pytest.raises(DataError, match=f"cxrtool prepare DATA --format {name}.*CXRTOOL_DATA"):
        dataset(here=tmp_path, format=name)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_data_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(DataError, match="nowhere is not a folder or a table"):
        dataset(tmp_path / "nowhere", format=name)


def test_a_folder_of_something_else_says_what_was_looked_for(tmp_path):
    own(tmp_path)
    with pytest.raises(DataError) as told:
        dataset(tmp_path)
    for what in (
        f"{tmp_path}/train.csv",
        f"{tmp_path}/CheXpert-v1.0-small/train.csv",
        f"{tmp_path}/Data_Entry_2017*.csv",
        f"{tmp_path}/mimic-cxr-*-metadata.csv[.gz]",
        "--format csv",
    ):
        assert what in str(told.value)


@pytest.mark.parametrize("name", ["chexpert", "nih", "mimic"])
def test_a_folder_of_another_format_is_not_read_as_the_one_named(tmp_path, name):
    for other, writer in WRITERS.items():
        if other != name:
            writer(tmp_path)
    with pytest.raises(DataError, match=f"no {name} data in .*looked for") as told:
        dataset(tmp_path, format=name)
    others = [m.looks_for for n, m in door.FORMATS.items() if n not in (name, "csv")]
    assert not any(what in str(told.value) for what in others)


@pytest.mark.parametrize("name", ["auto", "csv"])
def test_a_file_is_a_table_of_ones_own(tmp_path, name):
    nih(tmp_path)
    own(tmp_path)
    assert dataset(tmp_path / "films.csv", format=name) == ("csv", tmp_path)


@pytest.mark.parametrize("name", ["chexpert", "nih", "mimic"])
def test_a_file_and_a_format_of_folders_do_not_go_together(tmp_path, name):
    own(tmp_path)
    with pytest.raises(UsageError, match=rf"films\.csv is a file, and --format {name}"):
        dataset(tmp_path / "films.csv", format=name)


@pytest.mark.parametrize("option", ["columns", "label_columns", "images"])
def test_the_options_of_a_table_do_not_go_with_a_data_set(tmp_path, option):
    nih(tmp_path)
    value = tmp_path if option == "images" else "path=x"
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is for --format csv.*nih"):
        dataset(tmp_path, **{option: value})


def test_a_table_is_read_with_its_options(tmp_path):
    (tmp_path / "films.csv").write_text("image,who,Mass\n1.png,p1,1\n")
    options = {"columns": "path=image,patient_id=who", "label_columns": "Mass"}
    assert dataset(tmp_path, format="csv", **options)[0] == "csv"
