"""The page of an evaluation: parsed again, it says what the result says, and loads nothing."""

import base64
import copy
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtool.core.errors import DataError
from cxrtool.core.numbers import Estimate
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.reports.card import Card
from cxrtool.reports.failures import Failure, Failures, LabelFailures
from cxrtool.reports.flow import Count, Flow, LeftOut
from cxrtool.reports.page import render_report, write_report
from cxrtool.reports.summary import summary, summary_of
from cxrtool.reports.table_one import Ages, Column, LabelCount, TableOne
from tests.support.results import ORIGIN, result_of

VOID = {"meta", "img", "br", "link", "input", "hr"}
LOADING = ("src", "href", "srcset", "poster", "data", "action", "xlink:href")
NASTY = """<script>alert("1")</script> & 'so' on"""
FIVE = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
REPORT = {"source": "A report", "year": 2024, "protocol": "holdout", "low": None, "high": None}
PAPER = {"source": "A paper 2019", "year": 2019, "protocol": "expert", "low": None, "high": None}
RATES = ("sensitivity", "specificity", "ppv", "npv", "f1")


class Tree(HTMLParser):
    """Elements with their attributes, text and place; what is not nested well is an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        element = {"tag": tag, "at": dict(attributes), "text": "", "in": list(self.open)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1]["tag"] == tag, f"</{tag}> closes <{self.open[-1]['tag']}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, inside=None, **attributes):
        wanted = {name.strip("_"): value for name, value in attributes.items()}
        return [
            one
            for one in self.elements
            if one["tag"] == tag
            and (inside is None or any(above is inside for above in one["in"]))
            and all(value in (one["at"].get(name) or "").split() for name, value in wanted.items())
        ]

    def one(self, tag, inside=None, **attributes):
        [found] = self.all(tag, inside, **attributes)
        return found

    def section(self, name):
        sections = self.all("section")
        return next(one for one in sections if one["at"]["aria-labelledby"] == name)

    def rows(self, table):
        """Cells of each row, as their words."""
        return [
            [words(cell) for cell in self.elements if cell["in"] and cell["in"][-1] is row]
            for row in self.all("tr", table)
        ]

    @property
    def text(self):
        return words(self.one("body"))


def words(element):
    return " ".join(element["text"].split())


def scores(auroc, n=2000, positives=300):
    made = {"auroc": auroc, "auroc_ci": [auroc - 0.01, auroc + 0.012], "auprc": 0.4321}
    made |= {"auprc_ci": [0.4, 0.45], "threshold": 0.1234, "brier": 0.0567, "ece": 0.0189}
    for rank, name in enumerate(RATES):
        made |= {name: 0.61 + 0.03 * rank, f"{name}_ci": [0.6 + 0.03 * rank, 0.65 + 0.03 * rank]}
    share = positives / n
    return {**made, "prevalence": share, "n": n, "positives": positives, "positive_patients": 90}


def undefined(n=2000):
    made = dict.fromkeys(scores(0.8))
    return {**made, "prevalence": 0.0, "n": n, "positives": 0, "positive_patients": 0}


def group_cell(auroc, few=False):
    cell = {"n": 1000, "positives": 150, "prevalence": 0.15, "auroc": auroc, "too_few": few}
    cell |= {"auroc_ci": [auroc - 0.02, auroc + 0.02], "tpr": 0.71, "tpr_ci": [0.66, 0.75]}
    return {**cell, "fpr": 0.23, "fpr_ci": [0.2, 0.26]}


def subgroup(labels):
    def gap(size):
        return {"gap": size, "ci": [size / 2, size * 2], "highest": "Female", "lowest": "Male"}

    values = {label: one["auroc"] for label, one in labels.items()}
    cells = {label: group_cell(0.81) for label in values}
    return {
        "groups": {
            "Female": {"n": 1200, "patients": 400, "labels": cells},
            "Male": {"n": 1799, "patients": 600, "labels": copy.deepcopy(cells)},
            "Unknown": {
                "n": 1,
                "patients": 1,
                "labels": {label: group_cell(0.999, few=True) for label in values},
            },
        },
        "gaps": {
            label: {"auroc": gap(0.01 * rank), "tpr": gap(0.02 * rank), "fpr": None}
            for rank, label in enumerate(values)
        },
        "within": dict(values),
        "clear": [
            {**gap(size), "measure": measure, "label": label}
            for label, measure, size in (
                ("Support Devices", "auroc", 0.13),
                ("Edema", "auroc", 0.1),
                ("Support Devices", "tpr", 0.26),
            )
            if label in values
        ],
        "adjusted": {
            **{"level": 0.95, "comparisons": 84, "single_level": 0.999},
            "method": "max-T over the same draws of patients",
        },
    }


def a_result(**changes):
    labels = {
        label: scores(round(0.7 + 0.01 * rank, 3)) for rank, label in enumerate(CHEXPERT_LABELS)
    }
    labels["Fracture"] = undefined()
    same = [
        {**REPORT, "name": "Net A", "label": "Edema", "auroc": 0.83, "what": "one network; small"},
        {**REPORT, "name": "Net A", "label": "Fracture", "auroc": 0.815, "what": "one network"},
        {**REPORT, "name": "Net B", "label": None, "labels": 5, "auroc": None, "low": 0.8}
        | {"high": 0.81, "what": "a level"},
        {**REPORT, "name": "Net B", "label": None, "labels": 14, "auroc": 0.805, "what": ""},
    ]
    other = [
        {**PAPER, "name": "Net C", "label": "Edema", "auroc": 0.9412, "what": "w", "why": "why C"},
        {**PAPER, "name": "Net C", "label": "Atelectasis", "auroc": 0.86, "what": "w"}
        | {"why": "why C"},
        {**PAPER, "name": "Net D", "label": None, "labels": 5, "auroc": None, "low": 0.917}
        | {"high": 0.93, "what": "", "why": "why D"},
    ]
    made = {
        "run": "a-run",
        "split": "test",
        "protocol": {
            "name": "holdout",
            "labels_by": "labeler of train.csv",
            "uncertainty": "ones",
            "blank": "zeros",
            "split_by": "patient",
            "views": ["frontal"],
        },
        "unit": "image",
        "aggregate": None,
        "n": 19100,
        "patients": 6453,
        "operating_point": {"rule": "youden", "chosen_on": "valid"},
        "calibration": {
            "method": "temperature",
            "chosen_on": "valid",
            "left_out": {"Fracture": "3 positives"},
            "before": {"Edema": {"brier": 0.0712, "ece": 0.0923}},
        },
        "intervals": {"replicates": 1000, "seed": 42, "level": 0.95, "resampled": "patients"},
        "mean_auroc": 0.80349,
        "mean_auroc_ci": [0.796, 0.811],
        "defined": 13,
        "mean_auprc": 0.411,
        "mean_auprc_ci": [0.401, 0.422],
        "competition": {"labels": FIVE, "mean_auroc": 0.7761, "mean_auroc_ci": None, "defined": 5},
        "labels": labels,
        "subgroups": {"sex": subgroup(labels)},
        "references": {"same": same, "other": other},
        "warnings": ["12 patients are known", "Fracture has no positive"],
    }
    return copy.deepcopy({**made, **changes})


def minimal():
    """Nearly everything null; the label's name is nasty."""
    unknown = dict.fromkeys(("labels_by", "split_by"), "not known")
    return {
        **dict.fromkeys(a_result()),
        "run": "x.csv",
        "protocol": {**a_result()["protocol"], **unknown, "name": "other", "views": []},
        "data": ORIGIN,
        "unit": "image",
        "n": 3,
        "patients": 3,
        "defined": 0,
        "labels": {NASTY: undefined(3)},
        "subgroups": {},
        "references": {"same": [], "other": []},
        "warnings": [],
    }


CARD = Card(
    title="a-run",
    data={"data set": "chexpert", "resolution": ""},
    recipe={"arch": "densenet121"},
    environment={"torch": "2.9.1", "SHA-256 of weights": "9f86d081"},
    command="cxrtool evaluate a-run --split test",
)


def count(rows, patients, unit="image"):
    return Count(rows=rows, patients=patients, unit=unit)


def full_card():
    """A card that knows the data, with a patient's row among the failures."""
    ages = Ages(middle=61.2, low=50.0, high=70.0)
    edema = LabelCount(positives=30, n=120, uncertain=5, blank=60)
    column = Column(
        name="train",
        images=130,
        patients=40,
        ages=ages,
        without_age=2,
        sexes={"Female": 30, "Male": 10},
        views={"frontal AP": 130},
        labels={"Edema": edema},
    )
    test = replace(column, name="test", images=20, ages=None, labels={})
    failure = Failure(score="0.031", threshold="0.123", groups={"sex": "Female"}, lines=(123, 124))
    one = LabelFailures(
        label="Edema", misses=[failure, failure], false_alarms=[failure], missed=9, alarmed=1
    )
    none = LabelFailures(label="Fracture", misses=[], false_alarms=[], missed=0, alarmed=0)
    return replace(
        CARD,
        compute={"hardware of the training": "cpu", "time of the training": ""},
        flow=Flow(
            listed=count(None, None, "row"),
            unread=LeftOut(total=None, reasons={"label value": 2}),
            read=count(190, 60, "row"),
            left_out=LeftOut(total=40, reasons={"broken image": 33}),
            kept=count(150, 50),
            parts={"train": count(130, 40), "test": count(20, 10)},
            part="test",
            scored=count(20, 10),
        ),
        table_one=TableOne(
            columns=[column, test],
            sexes=("Female", "Male"),
            views=("frontal AP",),
            labels=("Edema",),
        ),
        failures=Failures(
            labels=[one, none],
            left_out=["Pneumonia"],
            columns=("sex",),
            table="predictions/test.csv",
        ),
    )


@pytest.fixture
def figures(tmp_path):
    paths = {}
    for name, size in {"ROC curves": (60, 40), "Calibration": (30, 30)}.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.zeros((size[1], size[0]), np.uint8)).save(path)
        paths[name] = path
    return paths


def page(result=None, card=CARD, figures=None):
    return Tree(rendered(result or a_result(), card, figures or {}))


def rendered(result, card, figures):
    return render_report(result_of(result), card, figures)


def results_row(tree, label):
    table = tree.one("table", _class="results")
    [row] = [row for row in tree.rows(table) if row[0] == label]
    return row


def test_it_loads_nothing(figures):
    text = rendered(a_result(), CARD, figures)
    tree = Tree(text)
    for element in tree.elements:
        for name in LOADING:
            address = element["at"].get(name, "#")
            assert address.startswith(("#", "data:image/png;base64,")), element
        assert element["tag"] not in {"script", "link", "iframe", "object", "base", "form"}
        assert not [name for name in element["at"] if name.startswith("on")]
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    [policy] = [
        one["at"]["content"]
        for one in tree.all("meta")
        if one["at"].get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy


def test_it_is_made_for_everybody(figures):
    tree = page(card=full_card(), figures=figures)
    assert tree.one("html")["at"]["lang"] == "en"
    ids = [one["at"]["id"] for one in tree.elements if "id" in one["at"]]
    assert len(ids) == len(set(ids))
    for link in tree.all("a"):
        assert link["at"]["href"].removeprefix("#") in ids
    for element in tree.elements:
        if "aria-labelledby" in element["at"]:
            assert element["at"]["aria-labelledby"] in ids
    levels = [int(one["tag"][1]) for one in tree.elements if re.fullmatch("h[1-6]", one["tag"])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tables = tree.all("table")
    assert len(tables) == 13
    for table in tables:
        assert words(tree.one("caption", table))
        assert all(head["at"].get("scope") for head in tree.all("th", table))
        box = next(one for one in table["in"][::-1] if one["tag"] == "div")
        assert box["at"]["tabindex"] == "0"
    assert tree.one("body")["in"][-1]["tag"] == "html"
    assert not [one for one in tree.elements if "hidden" in one["at"]]
    first = tree.all("a")[0]
    assert first["at"] == {"class": "skip", "href": "#main"}


def width(tree, row):
    cells = [one for one in tree.elements if one["in"] and one["in"][-1] is row]
    return sum(int(cell["at"].get("colspan", 1)) for cell in cells)


def test_every_row_of_a_table_is_as_wide_as_its_head():
    tree = page(card=full_card())
    for table in tree.all("table"):
        rows = tree.all("tr", table)
        wide, above = width(tree, rows[0]), []
        for row in rows:
            above = [left - 1 for left in above if left > 1]
            cells = [one for one in tree.elements if one["in"] and one["in"][-1] is row]
            assert width(tree, row) + len(above) == wide, words(row)
            above += [int(one["at"]["rowspan"]) for one in cells if "rowspan" in one["at"]]
        assert all(left == 1 for left in above)


def told(values):
    return summary_of(result_of(values))


def test_the_summary_is_one_sentence():
    assert told(a_result()) == (
        "Mean AUROC 0.803 (95 % interval 0.796 to 0.811) over 13 of 14 labels, "
        "19,100 images of 6,453 patients."
    )
    assert told(a_result(mean_auroc_ci=None, unit="study", n=1, patients=1)) == (
        "Mean AUROC 0.803 over 13 of 14 labels, 1 study of 1 patient."
    )
    assert told(minimal()) == "No AUROC is defined: 0 of 1 label, 3 images of 3 patients."
    assert told(a_result()) in page().text
    unknown = {"defined": 0, "labels": 1, "n": 3, "unit": "image", "patients": None, "level": None}
    assert summary(Estimate(), **unknown) == "No AUROC is defined: 0 of 1 label, 3 images."


def test_warnings_stand_before_everything_else():
    text = page().text
    assert text.index("12 patients are known") < text.index("Fracture has no positive")
    assert text.index("Fracture has no positive") < text.index("Protocol")
    assert "2 warnings" in text
    assert "warning" not in page(a_result(warnings=[])).text


def test_the_sections_come_in_the_readers_order(figures):
    tree = page(figures=figures)
    heads = [words(one) for one in tree.all("h2", tree.one("main"))]
    assert heads == [
        "Protocol",
        "Who was scored",
        "Results",
        "Thresholds and calibration",
        "Figures",
        "Subgroups",
        "Failures",
        "What this part can resolve",
        "Published results",
        "Model card",
        "Checklists",
        "How it was computed",
    ]


def test_every_labels_figures_are_in_its_row():
    tree = page()
    for label in CHEXPERT_LABELS:
        assert results_row(tree, label)[0] == label
    assert results_row(tree, "Edema") == [
        "Edema",
        "300 of 2,000, 15.0 %",
        "0.750 0.740–0.762",
        "",
        "0.432 0.400–0.450",
        "0.123",
        "0.61 0.60–0.65",
        "0.64 0.63–0.68",
        "0.67 0.66–0.71",
        "0.70 0.69–0.74",
        "0.73 0.72–0.77",
        "0.057",
        "0.019",
    ]


def test_what_is_not_defined_is_na_and_said():
    tree = page()
    row = results_row(tree, "Fracture")
    assert row[1] == "0 of 2,000, 0.0 %"
    assert row[2:] == ["n/a", "", *["n/a"] * 9]
    assert "n/a means not defined" in tree.text
    assert ". Fracture: positives or negatives are missing" in tree.text
    for text in (tree.text, page(minimal()).text):
        assert "None" not in re.sub(r"None (?:were|are)|none\.|None\.", "", text)
        assert "nan" not in text.split()


def test_nan_is_not_defined_either():
    result = a_result()
    result["labels"]["Edema"] |= {"auroc": float("nan"), "auroc_ci": [float("nan")] * 2}
    assert results_row(page(result), "Edema")[2] == "n/a"


def test_a_score_of_zero_is_a_score():
    result = a_result()
    result["labels"]["Edema"] |= {"auroc": 0.0, "auroc_ci": [0.0, 0.0], "f1": 0.0, "ece": -0.0}
    row = results_row(page(result), "Edema")
    assert row[2] == "0.000 0.000–0.000"
    assert row[10].startswith("0.00")
    assert row[12] == "0.000"
    assert ". Fracture: positives or negatives" in page(result).text


def test_the_means_are_the_last_rows():
    tree = page()
    rows = tree.rows(tree.one("tfoot", tree.one("table", _class="results")))
    assert rows[0][:4] == [
        "Mean of the 13 defined (of 14)",
        "0.803 0.796–0.811",
        "",
        "0.411 0.401–0.422",
    ]
    assert rows[1][:2] == ["Mean of the five CheXpert competition labels", "0.776"]
    assert rows[1][3] == ", ".join(FIVE)
    assert len(page(a_result(competition=None)).rows(tree.one("tfoot"))) == 0


def test_a_dot_stands_where_its_auroc_is():
    tree = page()
    table = tree.one("table", _class="results")
    dots = [float(one["at"]["cx"]) for one in tree.all("circle", tree.one("tbody", table))]
    assert len(dots) == 13
    assert dots == sorted(dots)
    steps = np.diff(dots[:12])  # each label is 0.01 above the one before
    assert steps == pytest.approx(np.full(11, 92 * 0.02), abs=0.11)
    for line in tree.all("line", table, _class="range"):
        assert 4 <= float(line["at"]["x1"]) < float(line["at"]["x2"]) <= 96


def test_the_line_begins_lower_for_an_auroc_below_chance():
    result = a_result()
    result["labels"]["Edema"] |= {"auroc": 0.31, "auroc_ci": [0.24, 0.38]}
    assert "runs from 0.2 to 1" in page(result).text
    assert "runs from 0.5 to 1" in page().text


def protocol(**changes):
    result = a_result()
    result["protocol"] |= changes
    tree = page(result)
    return words(tree.section("protocol"))


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("ones", "Labels called uncertain count as positive (policy ones)."),
        ("zeros", "Labels called uncertain count as negative (policy zeros)."),
        ("smooth", "Labels called uncertain are left out (policy smooth)."),
        (
            "ones,Edema=zeros",
            "count as negative for Edema; they count as positive for every other label",
        ),
        (
            "mixed",
            "count as positive for Edema, Atelectasis; they count as negative for every other",
        ),
        ("their own", "follow the policy their own"),
    ],
)
def test_the_truths_policy_is_in_plain_words(policy, told):
    assert told in protocol(uncertainty=policy)


def test_the_fill_of_no_finding_is_said_where_it_is_made():
    filled = "without any positive counts as No Finding"
    assert filled in protocol(uncertainty="zeros")
    assert filled not in protocol(uncertainty="zeros", blank="ignore")
    assert filled not in protocol(uncertainty="ones")


def test_the_protocol_is_in_plain_words():
    text = protocol()
    for told in (
        "holdout: images of the training table that were set aside",
        "Labels by: labeler of train.csv.",
        "left blank (not mentioned) count as negative",
        "no patient is in two parts",
        "frontal",
        "each counts once. 19,100 images of 6,453 patients.",
        "95 %, from 1,000 replicates, in each of which patients were drawn again",
        "seed 42",
    ):
        assert told in text
    assert "optimistic" not in text
    assert "these scores are optimistic" in protocol(split_by="image")
    assert "the run has seen patients" in protocol(name="other", trained_on=True)
    assert "no patient is in two parts" not in protocol(name="other", trained_on=True)
    assert "three radiologists" in protocol(name="expert")
    assert "five radiologists" in protocol(name="test500")
    assert "are left out" in protocol(blank="ignore")
    assert "None were made" in page(a_result(intervals=None)).text
    assert "as their maximum" in page(a_result(unit="study", aggregate="max")).text


def point(rule, chosen_on="valid", edited=()):
    chosen = {"rule": rule, "chosen_on": chosen_on, "edited": edited}
    result = a_result(operating_point=chosen)
    return words(page(result).section("point"))


def test_the_operating_point_is_explained():
    assert "Youden's J) is greatest, chosen on valid and used here as it stands" in point("youden")
    assert "F1 is greatest" in point("f1")
    assert "highest at which sensitivity is at least 0.9," in point("sensitivity=0.9")
    assert "lowest at which specificity is at least 0.95," in point("specificity=0.95")
    edited = point("youden", edited=("Edema",))
    assert "Youden's J) is greatest, (edited by hand for Edema) chosen on valid" in edited
    assert "these very images: the rates at it are optimistic" in point("youden", "test")
    assert "no operating point was chosen" in page(a_result(operating_point=None)).text


def test_the_calibration_is_explained():
    tree = page()
    text = words(tree.section("point"))
    assert "temperature (Guo et al. 2017), chosen on valid" in text
    assert "Fracture: 3 positives" in text
    table = next(
        one for one in tree.all("table") if "calibration" in words(tree.one("caption", one))
    )
    assert tree.rows(table)[1] == ["Edema", "0.071", "0.057", "0.092", "0.019"]
    assert "Calibration: none." in page(a_result(calibration=None)).text
    result = a_result(calibration={"method": "isotonic", "chosen_on": "test", "left_out": {}})
    text = words(page(result).section("point"))
    assert "isotonic" in text
    assert "these very images" in text
    result = a_result(calibration=None)
    for one in result["labels"].values():
        one |= {"brier": None, "ece": None}
    assert "the scores are no probabilities" in page(result).text


def test_figures_are_in_the_page_itself(figures):
    tree = page(figures=figures)
    images = tree.all("img")
    assert [words(one) for one in tree.all("figcaption")] == list(figures)
    for image, (caption, path) in zip(images, figures.items(), strict=True):
        head, data = image["at"]["src"].split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) == path.read_bytes()
        assert image["at"]["alt"].startswith(caption)
    assert (images[0]["at"]["width"], images[0]["at"]["height"]) == ("60", "40")
    assert [one["at"]["class"] for one in tree.all("figure")] == ["drawing wide", "drawing"]
    assert "figures" not in [one["at"].get("id") for one in page().elements]


def test_missing_figures_are_named_all_at_once(figures, tmp_path):
    missing = {f"figure {number}": tmp_path / f"{number}.png" for number in range(5)}
    with pytest.raises(DataError, match=r"0\.png.*1\.png.*5 in all.*draw"):
        rendered(a_result(), CARD, {**figures, **missing})
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"no PNG.*text\.png"):
        rendered(a_result(), CARD, {"text": tmp_path / "text.png"})


def groups_of(tree, label):
    table = tree.one("table", _class="groups")
    [body] = [one for one in tree.all("tbody", table) if words(one).startswith(label)]
    return tree.rows(body)


def test_a_label_has_its_groups_side_by_side():
    tree = page()
    head = tree.rows(tree.one("thead", tree.one("table", _class="groups")))[0]
    assert head[2:6] == [
        "Female 1,200 images 400 patients",
        "Male 1,799 images 600 patients",
        "Unknown 1 image 1 patient",
        "All 19,100 images 6,453 patients",
    ]
    rows = groups_of(tree, "Edema")
    auroc, tpr, fpr, prevalence, within = rows
    assert auroc[:4] == ["Edema", "AUROC", "0.810 0.790–0.830", "0.810 0.790–0.830"]
    assert auroc[4:] == ["too few", "0.750 0.740–0.762", "0.050 0.025–0.100", "Female over Male"]
    assert tpr[:3] == ["TPR", "0.71 0.66–0.75", "0.71 0.66–0.75"]
    assert tpr[3:] == [
        "0.61 0.60–0.65",
        "0.10 0.05–0.20",
        "Female over Male",
    ]
    assert fpr[:4] == ["FPR", "0.23 0.20–0.26", "0.23 0.20–0.26", "0.36 0.32–0.37"]
    assert fpr[4] == "n/a"
    assert prevalence[1] == "15.0 % 150 of 1,000"
    assert within == ["AUROC within", "0.750"]


def test_a_group_that_is_too_small_has_no_score_on_the_page():
    tree = page()
    assert "0.999" not in tree.text
    assert tree.text.count("too few") == len(CHEXPERT_LABELS) + 1  # and of underdiagnosis
    assert "Too few to say in 14 of 42 pairs of label and group" in tree.text


def test_gaps_that_are_clear_of_0_are_named_the_surest_first():
    text = words(page().section("subgroups"))
    assert (
        "Gap in AUROC: 0.130 (95 % interval 0.065 to 0.260, adjusted for 84 comparisons), "
        "Support Devices; higher for Female than for Male. Of all gaps in AUROC 2 are clear of 0."
    ) in text
    assert "Gap in TPR: 0.26 (95 % interval 0.13 to 0.52, adjusted" in text
    assert "No gap in FPR: no label has two groups that are large enough" in text


def test_a_gap_that_is_not_clear_of_0_is_not_named():
    result = a_result()
    result["subgroups"]["sex"]["clear"] = []
    text = words(page(result).section("subgroups"))
    assert "No gap in AUROC is clear of 0 (adjusted for 84 comparisons)." in text
    assert "Gap in AUROC:" not in text


def test_rates_of_groups_have_rows_only_where_there_are_thresholds():
    result = a_result()
    for group in result["subgroups"]["sex"]["groups"].values():
        for cell in group["labels"].values():
            cell |= dict.fromkeys(("tpr", "tpr_ci", "fpr", "fpr_ci"))
    names = [row[0] for row in groups_of(page(result), "Edema")]
    assert names == ["Edema", "Prevalence", "AUROC within"]
    assert "gap in TPR" not in words(page(result).section("subgroups")).replace("Gap", "gap")


@pytest.mark.parametrize(
    ("within", "ends", "told"),
    [
        (0.72, [0.74, 0.76], "0.030 below the overall AUROC"),
        (0.72, None, "0.030 below the overall AUROC"),
        (0.72, [0.71, 0.79], None),  # within the interval
        (0.735, [0.74, 0.76], None),  # a hundredth says little
        (0.78, [0.74, 0.76], None),  # above
        (None, [0.74, 0.76], None),
    ],
)
def test_an_auroc_that_tells_the_group_is_called_so_beside_it(within, ends, told):
    result = a_result()
    result["labels"]["Edema"]["auroc_ci"] = ends
    result["subgroups"]["sex"]["within"]["Edema"] = within
    tree = page(result)
    cell = groups_of(tree, "Edema")[-1][1]
    named = "Part of the AUROC tells the group, and not the finding: Edema" in tree.text
    assert (told is not None) == named
    assert (told or "") in cell
    assert ("below" in cell) == named


def test_groups_that_are_too_small_tell_nothing_of_the_auroc_within():
    result = a_result()
    result["subgroups"]["sex"]["within"]["Edema"] = 0.6
    assert "tells the group, and not the finding: Edema" in page(result).text
    result["subgroups"]["sex"]["groups"]["Male"]["labels"]["Edema"]["too_few"] = True
    assert "tells the group, and not the finding: Edema" not in page(result).text
    assert groups_of(page(result), "Edema")[-1] == ["AUROC within", "0.600"]


def test_no_subgroups_are_said_to_be_none():
    tree = page(a_result(subgroups={}))
    assert "None were asked for" in words(tree.section("subgroups"))
    assert not tree.all("table", _class="groups")


def test_references_of_the_same_protocol_stand_beside_the_models_scores():
    tree = page()
    head, *rows = tree.rows(tree.one("table", _class="same"))
    assert head == ["Label", "This model", "Net A", "Net B"]
    assert rows == [
        ["Edema", "0.750 0.740–0.762", "0.83", "not given"],
        ["Fracture", "n/a", "0.815", "not given"],
        ["Mean over 5 labels", "0.776", "not given", "0.80 to 0.81"],
        ["Mean over 14 labels", "n/a", "not given", "0.805"],  # 13 are defined here
    ]
    text = words(tree.section("same"))
    assert "Net A: holdout, one network; small. Source: A report, 2024" in text
    assert "Net B: holdout, a level. Source: A report, 2024" in text


def test_the_models_own_mean_is_over_the_same_labels():
    def own(**changes):
        rows = page(a_result(**changes))
        rows = rows.rows(rows.one("table", _class="same"))
        return {row[0]: row[1] for row in rows}

    five = a_result()["competition"]
    assert own(competition={**five, "defined": 4})["Mean over 5 labels"] == "n/a"
    assert own(competition=None)["Mean over 5 labels"] == "n/a"
    assert own(defined=14)["Mean over 14 labels"] == "0.803 0.796–0.811"
    assert own(defined=5, competition=None)["Mean over 5 labels"] == "n/a"


def test_references_of_other_protocols_are_apart_each_with_its_reason():
    tree = page()
    apart = tree.section("other")
    assert not tree.all("table", apart)
    assert "Not comparable" in words(apart)
    for article, (name, why, values) in zip(
        tree.all("article", apart),
        [
            ("Net C", "why C", ["Edema 0.941", "Atelectasis 0.86"]),
            ("Net D", "why D", ["Mean over 5 labels 0.917 to 0.93"]),
        ],
        strict=True,
    ):
        assert words(tree.one("h4", article)) == name
        assert words(tree.one("span", article, _class="why")) == why
        dl = tree.one("dl", article)
        found = zip(tree.all("dt", dl), tree.all("dd", dl), strict=True)
        assert [f"{words(dt)} {words(dd)}" for dt, dd in found] == values
    for table in tree.all("table"):
        assert "Net C" not in words(table)
        assert "Net D" not in words(table)
    assert "0.750 0.740" not in words(apart)
    assert "Source: A paper 2019; a page Protocol" in words(apart)  # the year once


def test_a_reference_with_a_reason_of_its_own_stands_alone():
    result = a_result()
    result["references"]["other"][1]["why"] = "why else"
    reasons = [words(one) for one in page(result).all("span", _class="why")]
    assert reasons == ["why C", "why else", "why D"]


def test_there_is_no_rank_and_no_difference():
    text = re.sub("no rank is given", "", words(page().section("published"))).lower()
    for word in ("better", "worse", "rank", "beats", "outperform", "+0.", "-0."):
        assert word not in text


def test_without_references_there_is_no_block_of_others():
    tree = page(a_result(references={"same": [], "other": []}))
    assert "None are known." in words(tree.section("published"))
    assert "Not comparable" not in tree.text


def test_the_card_says_what_is_known_and_what_is_not():
    tree = page()
    text = words(tree.section("card"))
    for told in ("data setchexpert", "resolutionnot known", "archdensenet121", "9f86d081"):
        assert told in text
    assert "not a medical device and not for clinical decisions" in text
    assert "Labels read off reports" in text
    assert "One hospital's patients" in text
    assert "What an AUROC does not say" in text
    assert "14 of 42 pairs of label and group are too small" in text
    bare = page(minimal(), Card(title=""))
    text = words(bare.section("card"))
    for name in ("Data", "Recipe", "Environment"):
        assert f"{name} not known" in text
    assert "Labels read off reports" not in text
    assert "the command is not known" in bare.text
    result = a_result()
    result["protocol"] |= {"name": "expert", "labels_by": "radiologists of valid.csv"}
    assert "Labels read off reports" not in page(result).text


def test_the_footer_has_the_command_and_the_versions():
    tree = page()
    text = words(tree.one("footer"))
    assert CARD.command in text
    assert "torch 2.9.1" in text
    assert "9f86d081" not in text


def test_the_sources_of_the_figures_are_given():
    text = words(page().section("how"))
    for source in (
        "Hanley & McNeil 1982",
        "Field & Welsh 2007",
        "Youden 1950",
        "Brier 1950",
        "Guo et al. 2017",
        "Average precision",
        "bins of equal width",
    ):
        assert source in text


def nasty(value):
    """The same values with nasty words in every place where a file's own words may come."""
    if isinstance(value, dict):
        return {key: nasty(one) for key, one in value.items()}
    if isinstance(value, list):
        return [nasty(one) for one in value]
    return f"{value} {NASTY}" if isinstance(value, str) else value


def test_nothing_is_taken_as_html(figures):
    result = nasty(a_result())
    result |= {"unit": "image", "operating_point": a_result()["operating_point"]}
    result["calibration"]["before"] = {}
    result["labels"] = {f"{NASTY} {label}": one for label, one in result["labels"].items()}
    result["subgroups"] = {NASTY: subgroup(result["labels"])}
    result["subgroups"][NASTY]["groups"][NASTY] = result["subgroups"][NASTY]["groups"].pop("Male")
    card = Card(
        title=NASTY,
        data={NASTY: NASTY},
        recipe={NASTY: NASTY},
        environment={NASTY: f"1.2 {NASTY}"},
        command=NASTY,
    )
    text = rendered(result, card, {NASTY: figures["ROC curves"]})
    tree = Tree(text)
    assert "<script" not in text
    assert "&amp;lt;" not in text
    assert not tree.all("script")
    assert words(tree.one("h1")) == NASTY
    assert tree.one("img")["at"]["alt"].startswith(NASTY)
    told = [words(one) for one in tree.all("li")]
    assert f"12 patients are known {NASTY}" in told
    assert f"why C {NASTY}" in tree.text
    assert f"By {NASTY}" in tree.text


def test_a_result_with_next_to_nothing_has_a_page():
    tree = page(minimal(), Card(title=""))
    assert words(tree.one("h1")) == "not named"
    assert results_row(tree, NASTY)[2:] == ["n/a", "", *["n/a"] * 9]
    assert "Labels by: not known." in tree.text


def test_forty_labels_have_forty_rows():
    labels = {f"Finding {number}": scores(0.75) for number in range(40)}
    tree = page(a_result(labels=labels, subgroups={"sex": subgroup(labels)}, calibration=None))
    assert len(tree.all("tr", tree.one("tbody", tree.one("table", _class="results")))) == 40
    assert len(tree.all("tbody", tree.one("table", _class="groups"))) == 40


def test_the_same_result_gives_the_same_page(figures, tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests'); from tests.reports.test_page import *; "
        "sys.stdout.buffer.write(rendered(a_result(), CARD, {}).encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": "7", "PATH": ""},
        check=True,
    )
    assert done.stdout.decode() == rendered(a_result(), CARD, {})


def test_making_the_page_leaves_its_arguments_alone():
    result = result_of(a_result())
    render_report(result, CARD, {})
    assert result == result_of(a_result())


def test_it_is_written_whole_or_not_at_all(figures, tmp_path):
    path = tmp_path / "out" / "report.html"
    write_report(result_of(a_result()), CARD, figures, path)
    text = rendered(a_result(), CARD, figures)
    assert path.read_bytes() == text.encode()
    with pytest.raises(DataError):
        write_report(result_of(minimal()), CARD, {"gone": tmp_path / "gone.png"}, path)
    assert path.read_bytes() == text.encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_the_page_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")

    def half(self, text, **_):
        self.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="no space"):
        write_report(result_of(a_result()), CARD, {}, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_screen_says_what_on_whom_and_the_answer():
    tree = page()
    head = words(tree.one("header"))
    for told in (
        "MeasuredThe part test, each image counting once; views: frontal",
        "On whomthose of truth.csv",
        "Truth bylabeler of train.csv",
        "Mean AUROC 0.803",
        "The five labels of the CheXpert competition, at the operating point youden",
    ):
        assert told in head
    rows = tree.rows(tree.one("table", _class="key"))
    assert rows[0] == ["Label", "AUROC", "Sensitivity", "Specificity"]
    assert rows[1:][0] == ["Atelectasis", "0.780 0.770–0.792", "0.61 0.60–0.65", "0.64 0.63–0.68"]
    assert [row[0] for row in rows[1:]] == FIVE
    assert "Drawn images" not in head
    drawn = replace(ORIGIN, kind="drawn", description="drawings by cxrtool")
    banner = page(a_result(data=drawn)).one("p", _class="banner")
    assert "not X-rays of patients" in words(banner)


def test_a_label_of_few_patients_is_muted_and_in_no_mean_over_supported_ones():
    result = a_result(supported=12, mean_auroc_supported=0.81, mean_auroc_supported_ci=[0.8, 0.82])
    result["labels"]["Edema"]["too_few"] = True
    tree = page(result)
    muted = [words(tree.one("th", row)) for row in tree.all("tr", _class="muted")]
    assert set(muted) == {"Edema"}
    rows = tree.rows(tree.one("tfoot", tree.one("table", _class="results")))
    assert rows[1][:2] == [
        "Mean over supported labels: the 12 with at least 10 patients of each class",
        "0.810 0.800–0.820",
    ]
    assert "fewer than 10 without it (Edema)" in tree.text
    assert "0.810 (0.800 to 0.820)" in words(tree.one("header"))
    assert "supported" not in page().text


def test_the_2x2_counts_are_those_of_the_threshold():
    result = a_result()
    result["labels"]["Edema"] |= {"tp": 250, "fp": 1300, "fn": 50, "tn": 400}
    tree = page(result)
    [row] = [row for row in tree.rows(table_of(tree, "table-counts")) if row[0] == "Edema"]
    assert row == ["Edema", "0.123", "250", "1,300", "50", "400", "2,000"]
    [row] = [row for row in tree.rows(table_of(tree, "table-counts")) if row[0] == "Fracture"]
    assert row == ["Fracture", "n/a", "n/a", "n/a", "n/a", "n/a", "2,000"]
    for one in result["labels"].values():
        one["threshold"] = None
    assert "2x2" not in page(result).text


def table_of(tree, caption):
    return tree.one("caption", id=caption)["in"][-1]


def test_the_flow_is_drawn_with_its_numbers():
    tree = page(card=full_card())
    flow = tree.section("flow")
    texts = [words(one) for one in tree.all("text", flow)]
    for told in (
        "In the tables",
        "not known",
        "Left out while they were read: not known",
        "label value: 2",
        "Left out: 40",
        "broken image: 33",
        "reason not known: 7",
        "The part test, scored",
        "20 images, 10 patients",
    ):
        assert told in texts
    assert len(tree.all("rect", flow)) == 8
    assert "is not the one that the run was trained with" not in words(flow)
    other = page(card=replace(full_card(), as_trained=False))
    assert "is not the one that the run was trained with" in words(other.section("flow"))
    assert "is not known" in words(page().section("cohort"))
    assert not page().all("rect")


def test_table_one_has_a_column_a_part():
    tree = page(card=full_card())
    rows = tree.rows(tree.one("table", _class="parts"))
    assert rows[0] == ["Of each part", "train", "test"]
    assert ["Age in years: median (quartiles)", "61 (50–70)", "not known"] in rows
    assert ["Age missing", "2 (5.0 %)", "2 (5.0 %)"] in rows
    assert ["Sex: Female", "30 (75.0 %)", "30 (75.0 %)"] in rows
    assert rows[-1] == ["Edema", "30 (25.0 %) 5 uncertain, 60 blank", "n/a"]


def test_failures_are_rows_that_only_the_owner_can_find():
    tree = page(card=full_card())
    text = words(tree.section("failures"))
    assert "by its line in predictions/test.csv" in text
    rows = tree.rows(tree.one("table", _class="failures"))
    assert rows[1] == ["Edema", "missed 2 of 9", "0.031", "0.123", "Female", "123, 124"]
    assert rows[2] == ["0.031", "0.123", "Female", "123, 124"]
    assert rows[3][0] == "false alarm 1 of 1"
    assert rows[4] == ["Fracture", "nothing was called wrongly"]
    assert "on too few patients: Pneumonia" in text
    assert "None are listed" in words(page().section("failures"))
    alone = replace(full_card(), failures=replace(full_card().failures, table=""))
    assert "Line" not in words(page(card=alone).one("table", _class="failures"))


def test_sections_fold_and_what_measures_something_else_is_folded_away():
    tree = page(card=full_card())
    opened = {}
    for one in tree.all("details"):
        section = one["in"][-1]
        opened[section["at"]["aria-labelledby"]] = "open" in one["at"]
        [summary] = [inner for inner in tree.all("summary", one) if inner["in"][-1] is one]
        assert [
            inner
            for inner in tree.elements
            if inner["tag"] in ("h2", "h3", "h4") and summary in inner["in"]
        ]
    assert not opened["other"]
    assert not opened["card"]
    assert opened["results"]
    assert opened["flow"]


def test_compute_is_told():
    text = words(page(card=full_card()).section("compute"))
    assert "hardware of the trainingcpu" in text
    assert "time of the trainingnot known" in text


def test_underdiagnosis_stands_group_by_group():
    tree = page()
    rows = tree.rows(table_of(tree, "table-underdiagnosis"))
    assert rows[1] == ["By sex"]
    assert rows[2] == ["Female", "400", "1,200", "0.23 0.20–0.26"]
    assert rows[4] == ["Unknown", "1", "1", "too few"]
    assert "none were formed here" in words(tree.section("underdiagnosis"))


def test_what_the_part_can_resolve_is_told_label_by_label():
    tree = page()
    rows = tree.rows(table_of(tree, "table-precision"))
    assert rows[1] == ["No Finding", "90", "0.011", "these do", "these do"]
    assert "interval is 0.008" in words(tree.section("precision"))
    assert "there are no intervals" in words(page(minimal()).section("precision"))


def test_a_correction_of_priors_and_other_prevalences_are_explained():
    prior = {"method": "prior", "chosen_on": "train", "left_out": {}, "moved_to": {"Edema": 0.02}}
    result = a_result(calibration=prior)
    edema = result["labels"]["Edema"]
    edema |= {"calibration_intercept": -0.4, "calibration_intercept_ci": (-0.6, -0.2)}
    edema |= {"calibration_slope": 0.8, "calibration_slope_ci": (0.7, 0.9)}
    edema |= {"target_prevalence": 0.02, "target_ppv": 0.123, "target_ppv_ci": (0.09, 0.16)}
    tree = page(result)
    assert "(Saerens et al. 2002), chosen on train" in words(tree.section("point"))
    text = words(tree.section("calibration"))
    assert "-0.40 -0.60 to -0.20" in text
    assert "0.80 0.70 to 0.90" in text
    assert "2.0 %0.123 0.090–0.160" in text
    plain = words(page(a_result(calibration=None)).one("main"))
    assert "prevalence of another place" not in plain
