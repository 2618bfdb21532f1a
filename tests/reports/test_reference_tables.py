from cxrtool.data.labels import CHEXPERT_LABELS, COMPETITION_LABELS
from cxrtool.evaluation.references import read_references
from cxrtool.reports.reference_tables import references_tables
from tests.support.paper_results import BY_IMAGE, DENSENET, HOLDOUT, cells, expert, result


def test_the_report_stands_beside_a_run_in_its_way_only():
    same, other = references_tables([result("mine", BY_IMAGE)])
    assert cells(same, "ResNet-101, U-Ones (report)")[:5] == [
        "0.65",
        "0.86",
        "0.68",
        "0.83",
        "0.86",
    ]
    assert "ResNet-101, U-Ones (report)" not in [row[0] for row in other.rows]
    same, other = references_tables([result("mine", HOLDOUT)])
    assert "ResNet-101, U-Ones (report)" not in [row[0] for row in same.rows]
    row = cells(other, "ResNet-101, U-Ones (report)")
    assert row[:5] == ["0.65", "0.86", "0.68", "0.83", "0.86"]
    assert row[-1] == "split by image: patients of its test part were trained on"


def test_the_columns_are_the_five_and_their_mean():
    one = result("mine", BY_IMAGE, aurocs=dict.fromkeys(CHEXPERT_LABELS, 0.8126))
    same, other = references_tables([one])
    # The report publishes no mean.
    assert same.columns == ("", *COMPETITION_LABELS, "mean of five")
    assert cells(same, "mine") == ["0.813"] * 6
    assert cells(same, "ResNet-101, U-Ones (report)")[5] is None
    assert other.columns == ("", *COMPETITION_LABELS, "mean of five", "reason")
    assert cells(other, "Ten networks, U-Ones (chest-xray-bench)")[5] == "0.799 to 0.806"
    assert cells(other, "Best single network (chest-xray-bench)")[5] == "0.911"
    assert cells(other, "Ensemble (Pham et al.)")[5] == "0.93"


def test_a_mean_over_other_labels_is_not_in_the_column():
    one = result("mine", BY_IMAGE, aurocs={"Edema": None})
    assert cells(references_tables([one, result("b", BY_IMAGE)])[0], "mine")[5:] == [None]
    four = [label for label in CHEXPERT_LABELS if label != "Edema"]
    one = result("mine", BY_IMAGE, labels=four)
    assert cells(references_tables([one, result("b", BY_IMAGE)])[0], "mine")[5:] == [None]


def test_only_those_of_the_five_that_the_runs_have():
    same, other = references_tables([result(protocol=BY_IMAGE, labels=["Edema", "Fracture"])])
    assert same.columns == ("", "Edema")
    assert [row[1] for row in same.rows[1:]] == ["0.83", "0.81"]
    assert "Edema" in other.columns
    assert "Atelectasis" not in other.columns
    assert references_tables([result(labels=["Fracture"])]) == (None, None)


def test_without_references_of_the_protocol_there_is_no_first_table():
    same, other = references_tables([result(n=112)])
    assert same is None
    assert len(other.rows) == len({(one.name, one.protocol) for one in read_references()})
    assert references_tables([result(references={"same": [], "other": []})]) == (None, None)


def test_each_protocol_is_a_part_of_its_own():
    same, _ = references_tables([result("a"), expert("b"), result("c")])
    names = [row[0] for row in same.rows]
    first, second = names.index("a"), names.index("b")
    assert names[first + 1] == "c"
    assert "U-Ones (CheXpert paper)" in names[second:]
    assert not any("paper" in name for name in names[:second])
    assert {first + 1, second - 1, second} == set(same.rules_after)


def test_runs_of_one_protocol_by_name_may_be_parts_of_their_own():
    name = "ResNet-101, U-Ones (report)"
    one = result("b", BY_IMAGE, labels=["Edema"])  # another label alone: fewer published scores
    same, _ = references_tables([result("a", BY_IMAGE), one])
    names = [row[0] for row in same.rows]
    assert names.index("a") < names.index(name) < names.index("b")
    assert names.count(name) == 2


def test_a_run_without_any_of_the_five_has_no_reasons():
    _, other = references_tables([result("a", labels=["Edema"]), result("b", labels=["Fracture"])])
    reason = cells(other, "ResNet-101, U-Ones (report)")[-1]
    assert reason == "a: split by image: patients of its test part were trained on"


def test_reference_tables_have_no_bold():
    for made in references_tables([result("a", seed=1), result("b", seed=2)]):
        assert made.bold == frozenset()


def test_identical_reasons_are_together():
    for results in ([result("a")], [result("a"), expert("b")]):
        _, other = references_tables(results)
        reasons = [row[-1] for row in other.rows]
        changes = [n for n in range(len(reasons) - 1) if reasons[n] != reasons[n + 1]]
        assert len(changes) == len(set(reasons)) - 1
        assert tuple(changes) == other.rules_after


def test_reasons_that_differ_name_the_runs():
    _, other = references_tables([result("a"), expert("b"), result("c")])
    reason = cells(other, "ResNet-101, U-Ones (report)")[-1]
    assert reason.startswith("a, c: split by image")
    assert ". b: hold-out of train.csv" in reason
    # What stands beside some of the runs is apart for the others alone.
    assert cells(other, "U-Ones (CheXpert paper)")[-1].startswith("a, c: 200 studies")
    _, alone = references_tables([result("a"), result("b")])
    assert cells(alone, "ResNet-101, U-Ones (report)")[-1].startswith("split by image")


def test_one_name_under_two_protocols_is_two_rows():
    _, other = references_tables([result()])
    assert [row[-2] for row in other.rows if row[0] == DENSENET] == ["0.873", "0.875"]


def test_every_reference_has_its_source_below():
    for made in references_tables([result("a"), expert("b")]):
        sources = " ".join(note for note in made.notes if note.startswith("Source of "))
        published = {row[0] for row in made.rows} - {"a", "b"}
        assert published
        assert all(name in sources for name in published)
    same, _ = references_tables([result()])
    place = "chest-xray-bench), training_scripts/densenet121/results/training_summary.json"
    assert any(place in note for note in same.notes if note.startswith("Source of "))
