import pytest

from cxrtool.core.errors import UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.reports.paper_tables import auroc_table, differences_table
from cxrtool.reports.reference_tables import references_tables
from tests.support.paper_results import (
    BY_IMAGE,
    EXPERT,
    HOLDOUT,
    bold,
    cells,
    expert,
    result,
    values_of,
)
from tests.support.results import made_differences, result_of


def test_auroc_table_has_a_row_a_label_and_a_column_a_run():
    one = result("a", aurocs=dict.fromkeys(CHEXPERT_LABELS, 0.8049))
    two = result("b", aurocs={"Edema": 0.91239, "Fracture": None})
    made = auroc_table([one, two])
    assert made.columns == ("label", "a", "b")
    assert [row[0] for row in made.rows] == [*CHEXPERT_LABELS, "mean"]
    assert cells(made, "Edema") == ["0.80", "0.91"]
    assert cells(made, "Fracture") == ["0.80", None]
    assert cells(made, "mean")[0] == "0.80 (14 of 14)"
    assert cells(made, "mean")[1].endswith(" (13 of 14)")
    assert made.rules_after == (13,)
    assert "on test" in made.caption
    assert cells(auroc_table([one, two], digits=4), "Edema") == ["0.8049", "0.9124"]


def test_the_mean_says_over_how_many():
    both = [result(run, aurocs={"Fracture": None}) for run in "ab"]
    assert auroc_table(both).rows[-1][0] == "mean over 13 of 14"
    undefined = result("c", aurocs={"Edema": None}, labels=["Edema"])
    assert auroc_table([undefined]).rows == [["Edema", None], ["mean over 0 of 1", None]]


def test_a_label_that_a_run_lacks_is_not_given():
    made = auroc_table([result("a", labels=["Edema"]), result("b", labels=["Edema", "Mass"])])
    assert cells(made, "Mass")[0] is None
    assert any(note.startswith("n/a:") for note in made.notes)
    assert not any(note.startswith("n/a:") for note in auroc_table([result()]).notes)


def test_one_run_on_two_parts_has_two_names():
    made = auroc_table([result("a"), expert("a", split="expert"), result("b")])
    assert made.columns == ("label", "a (test)", "a (expert)", "b")


def test_the_protocol_stands_below():
    notes = " ".join(auroc_table([result("a"), result("b")]).notes)
    parts = ("hold-out of train.csv", "U-Ones", "split by patient", "frontal", "19,103 images")
    assert all(notes.count(part) == 1 for part in parts)
    notes = auroc_table([result("a"), expert("b")]).notes
    assert notes[0].startswith("a: hold-out of train.csv")
    assert notes[1].startswith("b: 200 studies of valid.csv")
    assert "not to be ranked" in notes[2]
    foreign = {**HOLDOUT, "name": "other", "labels_by": "me", "split_by": "not known"}
    note = auroc_table([result(protocol=foreign, dataset="nih")]).notes[0]
    assert "labels by me" in note
    assert "split not known" in note


def test_the_best_of_a_row_is_bold():
    one = result("a", aurocs={"Edema": 0.8, "Fracture": 0.801, "Pneumonia": None})
    two = result("b", aurocs={"Edema": 0.7, "Fracture": 0.804, "Pneumonia": 0.9}, seed=1)
    three = result("c", aurocs={"Edema": 0.75, "Fracture": 0.2, "Pneumonia": None}, seed=2)
    made = bold(auroc_table([one, two, three]))
    assert {column for row, column in made if row == "Edema"} == {"a"}
    assert {column for row, column in made if row == "Fracture"} == {"a", "b"}  # equal as printed
    assert {column for row, column in made if row == "Pneumonia"} == set()  # alone
    assert not any(row.startswith("mean") for row, _ in made)  # over other labels
    closer = auroc_table([one, two, three], digits=3)
    assert ("Fracture", "b") in bold(closer)
    assert ("Fracture", "a") not in bold(closer)


def test_the_best_mean_is_bold():
    one, two = (
        result(run, aurocs=dict.fromkeys(CHEXPERT_LABELS, v))
        for run, v in zip("ab", (0.7, 0.8), strict=True)
    )
    assert ("mean over 14 of 14", "b") in bold(auroc_table([one, two]))
    assert len(auroc_table([one, two]).bold) == 15


def test_a_single_run_has_no_best():
    assert auroc_table([result()]).bold == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": EXPERT},
        {"protocol": BY_IMAGE},
        {"protocol": {**HOLDOUT, "uncertainty": "zeros"}},
        {"protocol": {**HOLDOUT, "blank": "ignore"}},
        {"protocol": {**HOLDOUT, "views": ["frontal", "lateral"]}},
        {"unit": "study"},
        {"n": 19_102},
        {"patients": 6_452},
    ],
)
def test_nothing_is_bold_across_protocols(change):
    one, two = result("a", seed=1), values_of("b", seed=2)
    assert auroc_table([one, result_of(two)]).bold
    changed = result_of({**two, **change})
    assert auroc_table([one, changed]).bold == frozenset()
    assert auroc_table([one, one, changed]).bold == frozenset()


@pytest.mark.parametrize("key", ["n", "positives"])
def test_a_row_of_another_truth_is_not_bold(key):
    one, two = result("a", seed=1), values_of("b", seed=2)
    two["labels"]["Edema"][key] -= 1
    rows = {row for row, _ in bold(auroc_table([one, result_of(two)]))}
    assert "Fracture" in rows
    assert not rows & {"Edema", "mean over 14 of 14"}


def test_differences_have_signs_and_the_mean_last():
    made = differences_table(
        [
            made_differences(
                "a",
                "b",
                {"Edema": (-0.0401, [-0.05, 0.01]), "Fracture": (None, None)},
                (0.0123, [0.001, 0.02]),
            ),
            made_differences("c", "b", {"Edema": (0.5, None)}),
        ]
    )
    assert made.columns == ("label", "a less b", "c less b")
    assert made.rows == [
        ["Edema", "-0.040 [-0.050, +0.010]", "+0.500"],
        ["Fracture", None, None],
        ["mean", "+0.012 [+0.001, +0.020]", None],
    ]
    assert made.rules_after == (1,)
    assert any("brackets" in note for note in made.notes)
    assert made.bold == frozenset()


def test_no_difference_is_no_minus_nothing():
    made = differences_table([made_differences("a", "b", {"Edema": (-0.0001, [-0.0002, 0.0001])})])
    assert made.rows[0] == ["Edema", "+0.000 [+0.000, +0.000]"]


@pytest.mark.parametrize("make", [auroc_table, references_tables, differences_table])
def test_nothing_makes_no_table(make):
    with pytest.raises(UsageError, match="there is none"):
        make([])
