import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.padchest import CHEXPERT_NAMES, COLUMNS, PADCHEST

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"


def row(name, labels, view="PA", method="RNN_model", sex="M", birth="1930.0"):
    return f'{name}.png,7,20140915,S{name},P1,{birth},{sex},{view},{method},"{labels}"'


@pytest.fixture
def read(tmp_path):
    def read_rows(*rows, **options):
        (tmp_path / TABLE).write_text("\n".join([",".join(COLUMNS), *rows, ""]))
        problems = Problems()
        source = PADCHEST.read(tmp_path, PrepareConfig(**options), problems)
        return source, problems.table()

    return read_rows


def positives(rows):
    return [{name for name in CHEXPERT_LABELS if row[name] == 1} for _, row in rows.iterrows()]


def test_names_are_taken_whole(read):
    source, problems = read(
        row("a", "['pseudonodule', 'hiatal hernia']"),
        row("b", "[' nodule', 'pulmonary mass', ' pleural effusion']"),
        row("c", "['normal']"),
        row("d", "['hydropneumothorax', 'callus rib fracture', 'laminar atelectasis']"),
    )
    assert positives(source.rows) == [
        set(),
        {"Lung Lesion", "Pleural Effusion"},
        {"No Finding"},
        {"Pneumothorax", "Pleural Effusion", "Fracture", "Atelectasis"},
    ]
    # What a row does not list is absent.
    assert not source.rows[list(CHEXPERT_LABELS)].isna().any(axis=None)
    assert problems.empty


def test_own_names_are_those_of_the_table(read):
    source, _ = read(row("a", "['pseudonodule', '']"), row("b", "['nodule']"), label_names="own")
    assert source.rows[["nodule", "pseudonodule"]].to_numpy().tolist() == [[0, 1], [1, 0]]
    assert "" not in source.rows


@pytest.mark.parametrize("labels", ["nan", "", "['']", "['unchanged']", "['exclude', '']"])
def test_a_row_that_says_nothing_of_findings_is_left_out_and_told(read, labels):
    source, problems = read(row("a", labels), row("b", "['normal', 'unchanged']"))
    assert source.rows["path"].tolist() == ["7/b.png"]
    assert problems["kind"].tolist() == ["no labels"]


@pytest.mark.parametrize("labels", ["['normal'", "normal", "__import__('os')", "[1]", "{}"])
def test_a_list_that_cannot_be_read_is_named_and_nothing_in_it_runs(read, labels):
    source, problems = read(row("a", labels), row("b", "['normal']"))
    assert len(source.rows) == 1
    assert problems[["kind", "where"]].to_numpy().tolist() == [["label value", f"{TABLE} line 2"]]


def test_views_ages_sexes_and_studies(read):
    views = ("PA", "L", "AP_horizontal", "AP", "COSTAL", "EXCLUDE", "UNK")
    rows = [row(f"v{at}", "['normal']", view) for at, view in enumerate(views)]
    source, problems = read(*rows, row("z", "['normal']", sex="nan", birth="None"))
    assert source.rows["view"].tolist() == [
        *("frontal", "lateral", "frontal", "frontal", "other", "other", "other", "frontal")
    ]
    assert source.rows["age"].fillna(-1).tolist() == [84] * 7 + [-1]
    assert source.rows["sex"].tolist() == ["Male"] * 7 + [""]
    assert source.rows["study_id"][0] == "P1/Sv0"
    assert problems.empty


def test_whose_labels_are_wanted_can_be_said(read):
    rows = (row("a", "['normal']", method="Physician"), row("b", "['nodule']"))
    assert read(*rows)[0].rows["path"].tolist() == ["7/a.png", "7/b.png"]
    by_hand, _ = read(*rows, labels_from="physician")
    assert by_hand.rows["path"].tolist() == ["7/a.png"]
    assert by_hand.labels_by == {"train": "physicians"}
    assert read(*rows, labels_from="rnn")[0].rows["path"].tolist() == ["7/b.png"]


def test_every_label_of_chexpert_has_a_counterpart():
    assert set(CHEXPERT_NAMES) == set(CHEXPERT_LABELS)
