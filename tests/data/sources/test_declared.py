import gzip

import pandas as pd
import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.data.problems import Problems
from cxrtool.data.sources.declared import Declaration, Kind, Table, column
from cxrtool.data.sources.findings import FindingColumns
from cxrtool.data.sources.rows import ABSENT

TEXT = (
    "image,who,pos,sex,age,by,part,Edema,extra\n"
    "a,p1,PA,M,058Y,doctor,train,1,x\n"
    "b,p1,L,f,6,robot,test,0,y\n"
    "c,p2,odd,,,doctor,train,-1,z\n"
)
WARD = Declaration(
    name="ward",
    title="the ward's",
    tables={"train": (Table("ward*.csv", ("image", "who"), ("pos", "sex", "age", "by", "part")),)},
    path=column("image"),
    patient=column("who"),
    view=column("pos"),
    sex=column("sex"),
    age=column("age"),
    part=column("part"),
    reader=column("by"),
    findings=FindingColumns(("Edema",)),
    meaning={"Edema": ("Edema",)},
    kinds={"doctor": Kind("the doctor", lambda frame: frame["by"] == "doctor")},
    labels_by={"train": "the ward"},
    blanks=ABSENT,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ward-1.csv").write_text(TEXT)
    return tmp_path


def read(folder, source=WARD, **options):
    problems = Problems()
    return source.read(folder, PrepareConfig(**options), problems), problems.table()


def test_a_declaration_is_all_that_is_needed(folder):
    source, problems = read(folder, label_names="own")
    rows = source.rows
    assert problems.empty
    assert rows["path"].tolist() == ["a", "b", "c"]
    assert rows["patient_id"].tolist() == ["p1", "p1", "p2"]
    assert rows["study_id"].tolist() == ["p1/a", "p1/b", "p2/c"]
    assert rows["view"].tolist() == ["frontal", "lateral", "other"]
    assert rows["sex"].tolist() == ["Male", "Female", ""]
    assert rows["age"].tolist()[:2] == [58, 6]
    assert rows["Edema"].tolist() == [1, 0, -1]
    assert source.official.tolist() == ["train", "test", "train"]
    assert source.readers.tolist() == ["doctor", "robot", "doctor"]
    assert source.unused == {"ward-1.csv": ["extra"]}
    assert (source.blank, source.labels_by) == (ABSENT, {"train": "the ward"})


def test_the_last_release_is_read_and_it_may_be_packed(folder):
    (folder / "ward-2.csv.gz").write_bytes(gzip.compress(TEXT.replace("a,p1", "new,p9").encode()))
    assert WARD.holds(folder)
    assert read(folder)[0].rows["path"][0] == "new"


def test_a_table_of_that_name_without_the_columns_is_not_it(tmp_path):
    (tmp_path / "ward-1.csv").write_text("image,patient\na,1\n")
    assert not WARD.holds(tmp_path)
    with pytest.raises(DataError, match=r"holds no ward\*\.csv with image, who: is this the"):
        read(tmp_path)


def test_rows_of_other_labellers_are_left_out_and_counted(folder):
    source, _ = read(folder, labels_from="doctor")
    assert source.rows["path"].tolist() == ["a", "c"]
    assert source.labels_by == {"train": "the doctor"}
    assert "1 of 3 rows of ward-1.csv are left out" in source.notes[0]
    assert WARD.source.labels_from == ("doctor",)


def test_a_problem_names_the_line_of_the_table_also_where_rows_were_left_out(folder):
    text = TEXT.replace("-1,z", "maybe,z") + ",p3,PA,,,doctor,train,1,x\n"
    (folder / "ward-1.csv").write_text(text)
    source, problems = read(folder, labels_from="doctor")
    assert source.rows["path"].tolist() == ["a"]
    assert dict(zip(problems["kind"], problems["where"], strict=True)) == {
        "label value": "ward-1.csv line 4",
        "unreadable path": "ward-1.csv line 5",
    }


def test_rows_that_were_made_of_several_are_named_by_the_first(folder):
    def joined(frame, place):
        assert place == folder
        return frame.groupby("image", sort=False, as_index=False).last()

    text = TEXT + "b,p1,PA,M,44,robot,train,what,x\n"
    (folder / "ward-1.csv").write_text(text)
    several = Declaration(**{**vars(WARD), "shape": joined})
    source, problems = read(folder, several)
    assert source.rows["path"].tolist() == ["a", "c"]
    assert problems["where"].tolist() == ["ward-1.csv line 3"]


def test_rows_in_another_order_are_named_by_their_own_line(folder):
    def turned(frame, place):
        return frame.iloc[::-1].reset_index(drop=True)

    (folder / "ward-1.csv").write_text(TEXT.replace("1,x", "what,x"))
    _, problems = read(folder, Declaration(**{**vars(WARD), "shape": turned}))
    assert problems["where"].tolist() == ["ward-1.csv line 2"]


def test_a_path_that_climbs_out_of_the_folder_is_refused(folder):
    (folder / "ward-1.csv").write_text(TEXT.replace("b,p1", "../b,p1"))
    with pytest.raises(DataError, match="climb out of the data folder"):
        read(folder)


def test_the_two_sources_are_joined(tmp_path):
    (tmp_path / "ward-1.csv").write_text(TEXT)
    (tmp_path / "experts.csv").write_text("image,who,Edema\nz,p7,1\n")
    both = Declaration(
        name="both",
        title="both",
        tables={**WARD.tables, "valid": (Table("experts.csv", ("image",)),)},
        path=column("image"),
        patient=column("who"),
        findings=WARD.findings,
        meaning=WARD.meaning,
        labels_by={"train": "the ward", "valid": "experts"},
    )
    source, _ = read(tmp_path, both)
    assert source.rows["source"].tolist() == ["train", "train", "train", "valid"]
    assert source.labels_by == {"train": "the ward", "valid": "experts"}
    assert isinstance(source.rows.index, pd.RangeIndex)
