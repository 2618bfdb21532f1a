import csv
import io
import re
import shutil
import subprocess

import pytest
from markdown_it import MarkdownIt

from cxrtool.reports.markup import (
    LONGEST_CELL,
    PaperTable,
    to_csv,
    to_latex,
    to_markdown,
)
from cxrtool.reports.paper_tables import auroc_table, differences_table
from cxrtool.reports.reference_tables import references_tables
from tests.support.paper_results import (
    expert,
    result,
)
from tests.support.results import made_differences

ODD = r"& % $ # _ { } ~ ^ \ < > | -- *a* _b_ `c` [d](e) &amp; $f$ é ü"


def table(**changes):
    given = {
        "caption": "A caption",
        "columns": ("label", "one", "two"),
        "rows": [["a", "0.5", "0.6"], ["b", None, "-0.25"]],
    }
    return PaperTable(**{**given, **changes})


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
        auroc_table(alone),
        *references_tables(results),
        *references_tables(alone),
        differences_table([made_differences("a_1", "b", {"Edema": (-0.01, [-0.02, 0.01])})]),
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
