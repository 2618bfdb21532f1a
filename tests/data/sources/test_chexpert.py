import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.origin import CHEXPERT, OWN
from cxrtool.core.workspace import DataInfo
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.detect import open_source
from cxrtool.evaluation.protocol import OF_TABLES, protocol_of_rows

HEAD = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(CHEXPERT_LABELS)}"
BATCHES = "CheXpert-v1.0 batch 1 (validate & csv)", "CheXpert-v1.0 batch 2 (train 1)"


def line(path):
    return f"{path},Male,50,Frontal,AP,1" + "," * 13


def put(folder, *places):
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()


def read(folder, **options):
    problems = Problems()
    return open_source(PrepareConfig(data=folder, **options), folder, problems), problems.table()


def test_the_archives_of_today_are_read_as_they_were_unpacked(tmp_path):
    put(tmp_path, f"{BATCHES[0]}/valid/patient64541/study1/view1_frontal.jpg")
    put(tmp_path, f"{BATCHES[1]}/patient00002/study1/view1_frontal.jpg")
    valid = line("CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg")
    train = line("CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg")
    (tmp_path / BATCHES[0] / "train.csv").write_text(f"{HEAD}\n{train}\n")
    (tmp_path / BATCHES[0] / "valid.csv").write_text(f"{HEAD}\n{valid}\n")
    source, problems = read(tmp_path)
    assert problems.empty
    assert source.folder == tmp_path
    assert source.rows["patient_id"].tolist() == ["patient00002", "patient64541"]
    assert source.rows["source"].tolist() == ["train", "valid"]
    assert all((tmp_path / path).is_file() for path in source.rows["path"])


@pytest.mark.parametrize(
    ("named", "lying"),
    [
        ("CheXpert-v1.0-small/valid/patient64541", "val/patient64541"),
        ("valid\\patient64541", "valid/patient64541"),
        ("CheXpert-v1.0/train/patient00001", "patient00001"),
        ("patient00001", "CheXpert-v1.0-small/train/patient00001"),
        ("somebody's/train/patient00001", "png/train/patient00001"),
    ],
)
def test_patients_are_taken_from_the_path_whatever_stands_before(tmp_path, named, lying):
    slash = "\\" if "\\" in named else "/"
    put(tmp_path, f"{lying}/study1/view1_frontal.png")
    given = slash.join((named, "study1", "view1_frontal.jpg"))
    (tmp_path / "train.csv").write_text(f"{HEAD}\n{line(given)}\n")
    source, _ = read(tmp_path)
    assert source.rows["path"].tolist() == [f"{lying}/study1/view1_frontal.png"]
    assert source.rows["patient_id"][0] == lying.rpartition("/")[2]


def test_radiologists_labels_alone_are_the_test_set(tmp_path):
    labels = f"Path,{','.join(CHEXPERT_LABELS)}"
    for name, patient in (("val", 64541), ("test", 64741)):
        path = f"{name}/patient{patient}/study1/view1_frontal.jpg"
        (tmp_path / f"{name}_labels.csv").write_text(f"{labels}\n{path}{',0' * 14}\n")
    source, _ = read(tmp_path)
    assert source.dataset == "chexlocalize"
    assert source.rows["patient_id"].tolist() == ["patient64741"]
    assert source.rows["source"].tolist() == ["test"]
    assert source.rows[["sex", "orientation"]].eq("").all(axis=None)
    assert "val_labels.csv is not read" in source.notes[0]
    (tmp_path / "test_labels.csv").unlink()
    assert read(tmp_path)[0].rows["source"].tolist() == ["valid"]
    # Beside train.csv they are left: what is to be trained on goes before.
    train = line("train/patient00001/study1/view1_frontal.jpg")
    (tmp_path / "train.csv").write_text(f"{HEAD}\n{train}\n")
    assert read(tmp_path)[0].dataset == "chexpert"


def test_columns_are_known_whatever_their_case_and_those_that_are_not_used_are_listed(tmp_path):
    train = line("train/patient00001/study1/view1_frontal.jpg")
    head = HEAD.upper().replace("LUNG OPACITY", "Airspace_Opacity")
    (tmp_path / "train.csv").write_text(f"{head},Report,\n{train},well,\n")
    source, problems = read(tmp_path)
    assert problems.empty
    assert source.rows["No Finding"].tolist() == [1]
    assert source.unused == {"train.csv": ["Report"]}


def test_another_data_sets_train_csv_is_not_taken_for_chexperts(tmp_path):
    boxes = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    (tmp_path / "train.csv").write_text(f"{boxes}\na,No finding,14,R1,,,,\n")
    assert read(tmp_path)[0].dataset == "vindr"


def test_the_test_set_itself_is_known_by_its_counts_and_is_the_protocol_of_500_studies(tmp_path):
    labels = f"Path,{','.join(CHEXPERT_LABELS)}"
    patients = range(64741, 65241)
    # 18 studies with a second frontal view: 518, as in the table of the frontal images.
    names = [(patient, view) for patient in patients for view in (1, 2)[: 1 + (patient < 64759)]]
    rows = [f"test/patient{one}/study1/view{view}_frontal.jpg{',0' * 14}" for one, view in names]
    (tmp_path / "test_labels.csv").write_text("\n".join([labels, *rows, ""]))
    source, problems = read(tmp_path)
    assert problems["kind"].tolist() == ["rows missing"]
    assert source.origin.kind == CHEXPERT
    assert source.origin.published == ("test",)
    assert source.labels_by == {"test": OF_TABLES["test"][1]}
    info = DataInfo(
        dataset=source.dataset,
        folder=tmp_path,
        labels_by=source.labels_by,
        origin=source.origin,
        asked={},
        blank=source.blank,
    )
    options = {"policy": "ones", "blank": "zeros", "by_image": False}
    assert protocol_of_rows(source.rows, info, **options).name == "test500"
    # One study less, and it is no longer that sample.
    (tmp_path / "test_labels.csv").write_text("\n".join([labels, *rows[2:], ""]))
    assert read(tmp_path)[0].origin.kind == OWN
