import csv
import io
import random
import re
import shutil
import subprocess

import pytest
from markdown_it import MarkdownIt

from cxrtool.core.errors import UsageError
from cxrtool.data.labels import CHEXPERT_LABELS, COMPETITION_LABELS
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.references import read_references, sort_references
from cxrtool.reports.markup import (
    LONGEST_CELL,
    PaperTable,
    to_csv,
    to_latex,
    to_markdown,
)
from cxrtool.reports.paper_tables import auroc_table, differences_table
from cxrtool.reports.reference_tables import references_tables
from tests.support.results import differences_of, result_of

ODD = r"& % $ # _ { } ~ ^ \ < > | -- *a* _b_ `c` [d](e) &amp; $f$ é ü"
HOLDOUT = {
    "name": "holdout",
    "labels_by": "labeler of train.csv",
    "uncertainty": "ones",
    "blank": "zeros",
    "split_by": "patient",
    "views": ["frontal"],
}
BY_IMAGE = {**HOLDOUT, "split_by": "image"}
EXPERT = {**HOLDOUT, "name": "expert", "views": ["frontal", "lateral"]}
DENSENET = "DenseNet-121, U-Ones (chest-xray-bench)"


def table(**changes):
    given = {
        "caption": "A caption",
        "columns": ("label", "one", "two"),
        "rows": [["a", "0.5", "0.6"], ["b", None, "-0.25"]],
    }
    return PaperTable(**{**given, **changes})


def values_of(run="a", protocol=HOLDOUT, *, aurocs=None, labels=CHEXPERT_LABELS, seed=0, **changes):
    """A result with random scores, or with those of `aurocs` (None: not defined)."""
    draw = random.Random(seed)
    unit, n = changes.pop("unit", "image"), changes.pop("n", 19_103)
    figures = {}
    for label in labels:
        auroc = (aurocs or {}).get(label, draw.uniform(0.6, 0.9))
        ci = None if auroc is None else [auroc - 0.02, auroc + 0.02]
        figures[label] = {"auroc": auroc, "auroc_ci": ci, "n": n, "positives": 100}
    known = [of["auroc"] for of in figures.values() if of["auroc"] is not None]
    five = [label for label in COMPETITION_LABELS if label in labels]
    scores = [figures[label]["auroc"] for label in five if figures[label]["auroc"] is not None]
    references = sort_references(
        Protocol(**{**protocol, "views": tuple(protocol["views"])}),
        dataset=changes.pop("dataset", "chexpert"),
        unit=unit,
        rows=n,
        labels=labels,
    )
    made = {
        "run": run,
        "split": "test",
        "protocol": protocol,
        "unit": unit,
        "n": n,
        "patients": 6_453,
        "intervals": {"replicates": 1000, "seed": 42, "level": 0.95, "resampled": "patients"},
        "mean_auroc": sum(known) / len(known) if known else None,
        "mean_auroc_ci": [0.7, 0.8],
        "defined": len(known),
        "competition": {
            "labels": five,
            "mean_auroc": sum(scores) / len(scores) if scores else None,
            "mean_auroc_ci": None,
            "defined": len(scores),
        },
        "labels": figures,
        "operating_point": None,
        "references": {"same": references.same, "other": references.other},
    }
    return {**made, **changes}


def result(*args, **changes):
    return result_of(values_of(*args, **changes))


def expert(run="e", **changes):
    return result(run, EXPERT, **{"unit": "study", "n": 200, **changes})


def cells(made, row):
    return next(cells[1:] for cells in made.rows if cells[0] == row)


def bold(made):
    return {(made.rows[row][0], made.columns[column]) for row, column in made.bold}


def rendered(text):
    """The cells of a Markdown table as a renderer draws them, and which are bold."""
    rows, strong, inside = [], set(), False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("th_open", "td_open", "th_close", "td_close"):
            inside = token.type.endswith("open")
        if inside and token.type == "inline":
            kinds = [child.type for child in token.children]
            assert set(kinds) <= {"text", "text_special", "strong_open", "strong_close"}
            if "strong_open" in kinds:
                strong.add((len(rows) - 2, len(rows[-1])))
            rows[-1].append("".join(child.content for child in token.children))
    return rows, strong


def unescaped(latex):
    """What LaTeX prints for the escapes that there are, written apart from the package."""
    words = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    words |= {"textless": "<", "textgreater": ">", "textbar": "|"}
    text = latex.replace("-{}-", "--").replace("$-$", "-")
    text = re.sub(r"\\([a-z]+)\{\}", lambda found: f"\0{ord(words[found[1]])}\0", text)
    assert not re.search(r"(?<!\\)[&%$#_{}~^]", text)
    text = re.sub(r"\\([&%$#_{}])", r"\1", text)
    return re.sub("\0(\\d+)\0", lambda found: chr(int(found[1])), text)


def test_csv_reads_back():
    made = table(columns=("label", "a, b", 'c "d"'), rows=[["e\nf", "1", None], [ODD, "2", ""]])
    rows = list(csv.reader(io.StringIO(to_csv(made), newline="")))
    assert rows == [list(made.columns), ["e\nf", "1", "n/a"], [ODD, "2", ""]]


def test_markdown_is_a_table_with_the_same_cells():
    made = table(
        columns=("", ODD, "two"),
        rows=[[ODD, "0.5", None], ["x | y", "a\nb", "\\|"]],
        bold=frozenset({(0, 1), (1, 0)}),
    )
    rows, strong = rendered(to_markdown(made))
    assert rows == [["", ODD, "two"], [ODD, "0.5", "n/a"], ["x | y", "a b", "\\|"]]
    assert strong == {(0, 1), (1, 0)}


def test_markdown_has_caption_and_notes_as_they_are():
    text = to_markdown(table(caption=f"C {ODD}", notes=(f"N {ODD}", "last")))
    inline = [
        "".join(child.content for child in token.children)
        for token in MarkdownIt("commonmark").enable("table").parse(text)
        if token.type == "inline"
    ]
    assert inline[0] == f"C {ODD}"
    assert inline[-2:] == [f"N {ODD}", "last"]


def test_github_takes_no_dollars_for_formulas():
    assert r"\$f\$" in to_markdown(table(caption="$f$"))


def test_numbers_stand_at_the_right():
    assert "| :--- | ---: | :--- |" in to_markdown(table(rows=[["1", None, "x"], ["2", "+1", "y"]]))
    assert r"\begin{tabular}{lrl}" in to_latex(table(rows=[["1", None, "x"], ["2", "-1", "y"]]))


def test_latex_is_a_whole_table():
    text = to_latex(table(notes=("A note.",), bold=frozenset({(1, 2)})))
    for part in ("table", "tabular", "minipage"):
        assert text.count(rf"\begin{{{part}}}") == text.count(rf"\end{{{part}}}") == 1
    order = [r"\caption{A caption}", r"\toprule", "label & one & two", r"\midrule", "a & 0.5 & 0.6"]
    order += [r"b & n/a & \textbf{$-$0.25}", r"\bottomrule", "A note."]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert r"\usepackage" not in text


def test_latex_escapes_everything():
    text = to_latex(table(caption=ODD, notes=(ODD,), rows=[[ODD, "1", "2"]]))
    assert "--" not in text  # it would be a dash
    caption = re.search(r"\\caption\{(.*)\}\n", text)[1]
    note = re.search(r"\\raggedright\n(.*)\n\\end\{minipage\}", text)[1]
    assert [unescaped(caption), unescaped(note)] == [ODD, ODD]
    body = text.split("\\midrule\n")[1].split("\n")[0]
    assert unescaped(re.search(r"^(.*) & 1 & 2 ", body)[1]) == ODD


def test_latex_keeps_rules_and_brackets_from_being_options():
    rows = [["[a]", "1", "2"], ["*b", "3", "4"], ["c", "5", "6"]]
    lines = to_latex(table(rows=rows, rules_after=(0, 2))).split("\n")
    start = lines.index(r"\midrule")
    assert lines[start + 1 : start + 6] == [
        r"{}[a] & 1 & 2 \\",
        r"\midrule",
        r"{}*b & 3 & 4 \\",
        r"c & 5 & 6 \\",
        r"\bottomrule",
    ]


def test_a_minus_is_one_and_a_hyphen_stays():
    text = to_latex(table(rows=[["run-2", "-0.1 [-0.2, +0.3]", "1"]]))
    assert "run-2 & $-$0.1 [$-$0.2, +0.3] & 1" in text


def test_long_cells_stand_below_a_latex_table_each_once():
    why, other = "x" * (LONGEST_CELL + 1), "y" * (LONGEST_CELL + 1)
    short = "z" * LONGEST_CELL
    made = table(columns=("", "why"), rows=[["a", why], ["b", why], ["c", other], ["d", short]])
    text = to_latex(made)
    assert [line for line in text.split("\n") if line.startswith(("a &", "b &", "c &"))] == [
        r"a & (a) \\",
        r"b & (a) \\",
        r"c & (b) \\",
    ]
    assert text.count(why) == text.count(other) == 1
    assert f"(a) {why}." in text
    assert f"d & {short}" in text
    assert to_markdown(made).count(why) == to_csv(made).count(why) == 2


def test_more_long_cells_than_letters():
    rows = [[str(number), f"{'x' * LONGEST_CELL}{number}"] for number in range(30)]
    text = to_latex(table(columns=("", "why"), rows=rows))
    assert r"25 & (z) \\" in text
    assert r"26 & (aa) \\" in text
    assert r"29 & (ad) \\" in text


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="row 1: 2 cells for 3 columns"):
        table(rows=[["a", "1", "2"], ["b", "1"]])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles(tmp_path):
    results = [result("a_1 & b%", seed=1), result("densenet", seed=2)]
    alone = [expert("resnet_{x}", seed=3), result("^~", seed=4)]
    made = [
        auroc_table(results),
        auroc_table(alone, intervals=True),
        *references_tables(results),
        *references_tables(alone),
        differences_table([differences_of("a_1", "b", {"Edema": (-0.01, [-0.02, 0.01])})]),
        table(caption=ODD, notes=(ODD,), rows=[["[x]", "1", "2"], ["*y", None, ODD]]),
    ]
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    body = "\n\\clearpage\n".join(map(to_latex, made))
    (tmp_path / "t.tex").write_text(f"{head}{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    for complaint in ("Overfull", "Float too large", "Missing character"):
        assert complaint not in done.stdout


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


def test_intervals_stand_beside_the_scores():
    one = result(aurocs={"Edema": 0.8, "Fracture": None})
    made = auroc_table([one], intervals=True)
    assert cells(made, "Edema") == ["0.80 [0.78, 0.82]"]
    assert cells(made, "Fracture") == [None]
    assert made.rows[-1][1].endswith(" [0.70, 0.80]")
    assert "In brackets: 95 % intervals, patients resampled 1,000 times." in made.notes
    bare = values_of(aurocs={"Edema": 0.8}, intervals=None)
    bare["labels"]["Edema"]["auroc_ci"] = None
    assert cells(auroc_table([result_of(bare)], intervals=True), "Edema") == ["0.80"]
    assert not any("brackets" in note for note in auroc_table([one]).notes)


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


def test_differences_have_signs_and_the_mean_last():
    made = differences_table(
        [
            differences_of(
                "a",
                "b",
                {"Edema": (-0.0401, [-0.05, 0.01]), "Fracture": (None, None)},
                (0.0123, [0.001, 0.02]),
            ),
            differences_of("c", "b", {"Edema": (0.5, None)}),
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
    made = differences_table([differences_of("a", "b", {"Edema": (-0.0001, [-0.0002, 0.0001])})])
    assert made.rows[0] == ["Edema", "+0.000 [+0.000, +0.000]"]


@pytest.mark.parametrize("make", [auroc_table, references_tables, differences_table])
def test_nothing_makes_no_table(make):
    with pytest.raises(UsageError, match="there is none"):
        make([])
