"""Columns are found by their names, however they are written."""

import gzip

from cxrtool.evaluation.tables.truth import read_truth_table
from tests.support.tables import official_test, read


def test_a_gzipped_table_and_one_with_a_mark(tmp_path):
    truth, scores = official_test(5)
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(truth.to_csv(index=False))
    (tmp_path / "p.csv").write_text(scores.to_csv(index=False), encoding="utf-8-sig")
    assert len(read(tmp_path / "t.csv.gz", tmp_path / "p.csv").keys) == 5


def test_label_names_match_but_for_case_and_joints(write):
    lines = ["path,pleural_effusion,Lung-Opacity,Mass", "a,1,0,1", "b,0,,0"]
    truth = write("t.csv", lines)
    table = read_truth_table(truth)
    assert table.labels == ("Pleural Effusion", "Lung Opacity", "Mass")
    assert any("pleural_effusion as Pleural Effusion" in note for note in table.notes)
    matched = read(truth, write("p.csv", ["path,MASS,Pleural Effusion", "a,1,2", "b,3,4"]))
    assert matched.labels == ("Pleural Effusion", "Mass")
    assert matched.scores[0].tolist() == [[2, 1], [4, 3]]
    assert any("MASS as Mass" in note for note in matched.notes)


def test_known_columns_and_text_are_ignored(write):
    truth = write("t.csv", ["path,Edema,weight", "a,1,80", "b,0,70"])
    columns = "Unnamed: 0,,path,Edema,age,fold,split,Sex,Patient ID,weight,comment,positive"
    lines = [columns, "0,0,a,0.5,60,1,2,0,7,80,fine,1", "1,1,b,0.25,61,1,2,0,7,70,,0"]
    matched = read(truth, write("p.csv", lines))
    assert matched.scores[0].tolist() == [[0.5], [0.25]]
