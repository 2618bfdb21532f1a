from cxrtool.core.config import PrepareConfig
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.brax import BRAX
from cxrtool.data.sources.rows import NOT_MENTIONED

HEAD = (
    "DicomPath,PngPath,PatientID,PatientSex,PatientAge,AccessionNumber,"
    f"{','.join(CHEXPERT_LABELS)},ViewPosition,Rows"
)


def test_brax_is_read(tmp_path):
    labels = ",,-1.0,1.0,0.0" + "," * 9
    lines = [
        f"a.dcm,images/a.png,id_1,M,85 or more,Acc1,{labels},AP,9",
        f"b.dcm,images/b.png,id_1,O,040Y,Acc2,{labels},LL,9",
        f"c.dcm,images/c.png,id_2,F,,Acc3,{labels},,9",
    ]
    (tmp_path / "master_spreadsheet_update.csv").write_text("\n".join([HEAD, *lines, ""]))
    problems = Problems()
    assert BRAX.holds(tmp_path)
    source = BRAX.read(tmp_path, PrepareConfig(), problems)
    rows = source.rows
    assert problems.table().empty
    assert rows["age"].fillna(-1).tolist() == [85, 40, -1]
    assert rows["sex"].tolist() == ["Male", "Unknown", "Female"]
    assert rows["view"].tolist() == ["frontal", "lateral", "other"]
    assert rows["study_id"].tolist() == ["id_1/Acc1", "id_1/Acc2", "id_2/Acc3"]
    assert rows["Cardiomegaly"].tolist() == [-1] * 3
    assert rows["Lung Opacity"].tolist() == [1] * 3
    assert rows["Fracture"].isna().all()
    assert source.blank == NOT_MENTIONED
    assert source.unused == {"master_spreadsheet_update.csv": ["DicomPath", "Rows"]}
