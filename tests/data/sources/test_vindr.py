import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import ABSENT
from cxrtool.data.sources.vindr import VINDR

LABELS = ("Cardiomegaly", "Pleural effusion", "Nodule/Mass", "Other diseases", "No finding")


@pytest.fixture
def read(tmp_path):
    def read_tables(**options):
        problems = Problems()
        source = VINDR.read(tmp_path, PrepareConfig(**options), problems)
        assert problems.table().empty
        return source

    return read_tables


def write_both(folder):
    head = f"image_id,rad_id,{','.join(LABELS)}"
    rows = ["a,R1,1,0,0,0,0", "a,R2,0,0,1,0,0", "a,R3,0,0,0,0,1", "b,R1,0,0,0,1,0"]
    (folder / "image_labels_train.csv").write_text("\n".join([head, *rows, ""]))
    head = f"image_id,{','.join(LABELS)}"
    (folder / "image_labels_test.csv").write_text("\n".join([head, "c,0,1,0,0,0", ""]))


def test_each_readers_row_is_kept_with_who_it_was(tmp_path, read):
    write_both(tmp_path)
    source = read(label_names="own")
    assert source.rows["path"].tolist() == ["a", "a", "a", "b", "c"]
    assert source.readers.tolist() == ["R1", "R2", "R3", "R1", ""]
    assert source.rows["source"].tolist() == ["train"] * 4 + ["valid"]
    assert source.rows[list(LABELS)].to_numpy().tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 1, 0, 0, 0],
    ]
    assert source.blank == ABSENT
    assert "names no patients" in source.notes[0]


def test_findings_have_chexperts_names(tmp_path, read):
    write_both(tmp_path)
    rows = read().rows
    assert rows["Lung Lesion"].tolist() == [0, 1, 0, 0, 0]
    assert rows["Pleural Effusion"].tolist() == [0, 0, 0, 0, 1]
    assert rows["No Finding"].tolist() == [0, 0, 1, 0, 0]
    # The table has no column for it.
    assert rows["Fracture"].isna().all()


@pytest.mark.parametrize("name", ["train.csv", "annotations_train.csv"])
def test_boxes_are_a_row_for_each_image_and_reader(tmp_path, read, name):
    head = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    rows = [
        "a,Cardiomegaly,3,R9,1,2,3,4",
        "b,No finding,14,R8,,,,",
        "a,Pleural effusion,10,R9,1,2,3,4",
        "a,Cardiomegaly,3,R9,5,6,7,8",
        "a,No finding,14,R8,,,,",
    ]
    (tmp_path / name).write_text("\n".join([head, *rows, ""]))
    source = read(label_names="own")
    found = {
        (image, reader): {name for name in LABELS if row.get(name) == 1}
        for image, reader, (_, row) in zip(
            source.rows["path"], source.readers, source.rows.iterrows(), strict=True
        )
    }
    assert found == {
        ("a", "R8"): {"No finding"},
        ("a", "R9"): {"Cardiomegaly", "Pleural effusion"},
        ("b", "R8"): {"No finding"},
    }
