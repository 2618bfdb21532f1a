import csv
import json
import math
from importlib.resources import files

import pytest

from cxrtool.data.labels import CHEXPERT_LABELS, COMPETITION_LABELS
from cxrtool.evaluation.protocol import PROTOCOLS, Protocol
from cxrtool.evaluation.references import (
    VIEWS,
    read_references,
    sort_references,
)

# Typed from the method's page, section 7, and not read by the package.
REPORT = """
No Finding                 0.86 0.88 0.85 0.86
Enlarged Cardiomediastinum 0.63 0.66 0.64 0.64
Cardiomegaly               0.82 0.86 0.83 0.84
Lung Opacity               0.70 0.72 0.69 0.70
Lung Lesion                0.73 0.79 0.73 0.74
Edema                      0.81 0.83 0.81 0.81
Consolidation              0.69 0.68 0.69 0.67
Pneumonia                  0.70 0.70 0.69 0.64
Atelectasis                0.66 0.65 0.64 0.62
Pneumothorax               0.81 0.84 0.80 0.79
Pleural Effusion           0.83 0.86 0.83 0.84
Pleural Other              0.78 0.87 0.76 0.82
Fracture                   0.74 0.81 0.72 0.75
Support Devices            0.83 0.86 0.82 0.83
"""
RUNS = (
    "ResNet-101, U-Zeros (report)",
    "ResNet-101, U-Ones (report)",
    "DenseNet-121, U-Zeros (report)",
    "DenseNet-121, U-Ones (report)",
)
PAPER = {
    "Atelectasis": ("0.81", "0.86"),
    "Cardiomegaly": ("0.84", "0.83"),
    "Consolidation": ("0.93", "0.90"),
    "Edema": ("0.93", "0.94"),
    "Pleural Effusion": ("0.93", "0.93"),
}
# Typed from the sources: of a mean over the five labels protocol, figures, unit and views.
LEVELS = {
    ("holdout", "0.8028", "", "", "image", "frontal"),
    ("holdout", "", "0.7994", "0.8064", "image", "frontal"),
    ("expert", "0.8727", "", "", "image", "frontal"),
    ("expert", "0.8566", "", "", "image", "all"),
    ("test500", "0.8750", "", "", "image", "frontal"),
    ("test500", "0.8590", "", "", "image", "all"),
    ("test500", "0.9113", "", "", "image", "frontal"),
    ("test500", "0.9174", "", "", "image", "frontal"),
    ("test500", "0.930", "", "", "study", "all"),
}
REPORTS_WAY = {
    "name": "holdout",
    "labels_by": "labeler of train.csv",
    "uncertainty": "ones",
    "blank": "zeros",
    "split_by": "image",
    "views": ["frontal"],
}
RADIOLOGISTS = {**REPORTS_WAY, "name": "expert", "split_by": "patient"}
ONES = "ResNet-101, U-Ones (report)"
DENSENET = "DenseNet-121, U-Ones (chest-xray-bench)"
ALL_VIEWS = "DenseNet-121, U-Ones, both views (chest-xray-bench)"
PAPERS = {"U-Zeros (CheXpert paper)", "U-Ones (CheXpert paper)"}
BOTH = ["frontal", "lateral"]


def table():
    text = files("cxrtool.evaluation").joinpath("references.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def sort(protocol=REPORTS_WAY, **changes):
    given = {"dataset": "chexpert", "unit": "image", "rows": 19_103, "labels": CHEXPERT_LABELS}
    run = Protocol(**{**protocol, "views": tuple(protocol["views"] or ())})
    found = sort_references(run, **{**given, **changes})
    return list(found.same), [(one.reference, one.why) for one in found.other]


def same_names(*given, **changes):
    return {one.name for one in sort(*given, **changes)[0]}


def why(name, *given, protocol=None, **changes):
    """The one reason for a reference's name; None where it stands beside the run."""
    same, other = sort(*given, **changes)
    reasons = {
        reason for one, reason in other if one.name == name and protocol in (None, one.protocol)
    }
    assert len(reasons) <= 1
    kept = [one for one in same if one.name == name and protocol in (None, one.protocol)]
    assert bool(reasons) != bool(kept)
    return reasons.pop() if reasons else None


def test_the_reports_figures_are_those_of_its_table():
    typed = {}
    for line in REPORT.strip().splitlines():
        *label, a, b, c, d = line.split()
        for run, figure in zip(RUNS, (a, b, c, d), strict=True):
            typed[run, " ".join(label)] = figure
    found = {(row["name"], row["label"]): row["auroc"] for row in table() if row["name"] in RUNS}
    assert found == typed
    assert len(typed) == 56


def test_the_papers_figures_are_those_of_its_table():
    typed = {}
    for label, (zeros, ones) in PAPER.items():
        typed["U-Zeros (CheXpert paper)", label] = zeros
        typed["U-Ones (CheXpert paper)", label] = ones
    rows = [row for row in table() if "1901.07031" in row["source"] and row["label"]]
    assert {(row["name"], row["label"]): row["auroc"] for row in rows} == typed
    assert {row["protocol"] for row in rows} == {"expert"}


def test_the_known_levels_are_those_of_their_sources():
    columns = ("protocol", "auroc", "low", "high", "unit", "views")
    rows = [row for row in table() if not row["label"]]
    assert {tuple(row[column] for column in columns) for row in rows} == LEVELS
    assert len(rows) == len(LEVELS)
    assert len(table()) == 56 + 10 + len(LEVELS)
    assert {row["labels"] for row in rows} == {"five"}


def test_every_figure_names_its_source_and_the_place_in_it():
    for row in table():
        assert row["source"]
        assert row["where"]
        assert 2019 <= int(row["year"]) <= 2026
        assert row["data"] == "CheXpert"
        assert row["protocol"] in set(PROTOCOLS) - {"other"}
        assert bool(row["label"]) != bool(row["labels"])
        assert bool(row["auroc"]) != bool(row["low"] and row["high"])


def test_unit_views_split_and_policy_are_stated_of_every_figure():
    for row in table():
        assert row["unit"] in ("image", "study")
        assert row["views"] in VIEWS
        assert row["uncertainty"]
        if row["protocol"] == "holdout":
            assert row["split_by"] in ("image", "patient")
            assert row["blank"] == "zeros"
        else:
            assert row["split_by"] == "official"
    assert not any("not stated" in one.what or "not known" in one.what for one in read_references())


def test_what_is_stated_of_each_source():
    for one in read_references():
        stated = (one.uncertainty, one.blank, one.split_by, one.unit, one.views)
        policy = "ones" if "U-Ones" in one.name else "zeros"
        if one.name in RUNS:
            assert stated == (policy, "zeros", "image", "image", "frontal")
            assert one.year == 2024
        elif one.name in PAPERS:
            assert stated == (policy, None, "official", "study", "all")
            assert one.year == 2019
        elif "chest-xray-bench" in one.name:
            assert one.blank == "zeros"
            assert one.unit == "image"
            assert one.split_by == ("patient" if one.protocol == "holdout" else "official")
            assert (one.uncertainty == "ones") == ("U-Ones" in one.name)


def test_numbers_are_numbers_and_blanks_are_none():
    for one, row in zip(read_references(), table(), strict=True):
        for key in ("auroc", "low", "high"):
            number = getattr(one, key)
            assert row[key] == "" if number is None else math.isclose(float(row[key]), number)
        assert "" not in vars(one).values()


def test_as_json_is_json_with_how_many_labels_a_mean_is_over():
    told = [json.loads(json.dumps(one.as_json())) for one in read_references()]
    keys = {"name", "label", "labels", "auroc", "low", "high", "source", "where"}
    keys |= {"year", "protocol", "what"}
    assert all(set(one) == keys for one in told)
    assert {one["labels"] for one in told if one["label"] is None} == {5}
    assert {one["labels"] for one in told if one["label"] is not None} == {None}


def test_what_was_measured_is_told():
    report = next(one for one in read_references() if one.name == ONES).what
    assert report.endswith("U-Ones; split by image; scored by image; frontal images")
    expert = next(one for one in read_references() if one.name in PAPERS).what
    assert "scored by study; frontal and lateral images" in expert
    assert "split" not in expert


def test_a_run_in_the_reports_way_stands_beside_the_report():
    assert ONES in same_names()
    assert "DenseNet-121, U-Ones (report)" in same_names()
    assert not same_names() & {"ResNet-101, U-Zeros (report)", DENSENET, ALL_VIEWS, *PAPERS}


def test_every_figure_is_in_one_of_the_two():
    same, other = sort()
    assert len(same) + len(other) == len(read_references())
    assert {*same} & {one for one, _ in other} == set()
    assert all(reason for _, reason in other)


@pytest.mark.parametrize("name", ["holdout", "expert", "test500", "other"])
def test_nothing_stands_beside_scores_of_patients_that_were_trained_on(name):
    same, other = sort({**REPORTS_WAY, "name": name, "trained_on": True}, labels=CHEXPERT_LABELS)
    assert not same
    assert all("the run was trained or chosen on" in reason for _, reason in other)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uncertainty": "zeros"}, "truth by U-Ones, here U-Zeros"),
        ({"uncertainty": "ones,Edema=zeros"}, "truth by U-Ones, here ones,Edema=zeros"),
        ({"blank": "ignore"}, "labels not mentioned count as negative, here left out"),
        ({"split_by": "patient"}, "split by image: patients of its test part were trained on"),
        (
            {"split_by": "not known"},
            "split by image: patients of its test part were trained on, here how is not known",
        ),
        ({"views": ["frontal", "lateral"]}, "frontal images alone, here frontal and lateral"),
        ({"views": ["lateral"]}, "frontal images alone, here lateral"),
    ],
)
def test_one_contradiction_in_the_protocol_is_enough(change, reason):
    assert why(ONES) is None
    assert why(ONES, {**REPORTS_WAY, **change}) == reason


def test_studies_are_no_images():
    assert why(ONES, unit="study") == "scored by image, here by study"


def test_all_reasons_are_told():
    reason = why("ResNet-101, U-Zeros (report)", {**REPORTS_WAY, "split_by": "patient"})
    assert reason == (
        "truth by U-Zeros, here U-Ones; split by image: patients of its test part were trained on"
    )


BENCHS_WAY = {**REPORTS_WAY, "split_by": "patient"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"uncertainty": "zeros"}, "truth by U-Ones, here U-Zeros"),
        ({"blank": "ignore"}, "labels not mentioned count as negative, here left out"),
        ({"split_by": "image"}, "split by patient, here by image"),
        ({"views": BOTH}, "frontal images alone, here frontal and lateral"),
        ({"views": []}, "frontal images alone, here not known"),
    ],
)
def test_a_hold_out_by_patient_stands_beside_one_by_patient(change, reason):
    assert why(DENSENET, {**BENCHS_WAY, **change}, protocol="holdout") == reason


@pytest.mark.parametrize(
    ("rows", "same"),
    [(10_000, True), (9_999, False), (112, False)],
)
def test_few_images_laid_out_as_chexpert_are_not_chexpert(rows, same):
    reason = why(DENSENET, BENCHS_WAY, protocol="holdout", rows=rows)
    assert (reason is None) == same
    if not same:
        assert reason == f"a tenth of CheXpert, here {rows:,} images laid out as CheXpert"


@pytest.mark.parametrize(
    ("name", "reference", "unit", "views", "rows", "same"),
    [
        ("expert", "paper", "study", BOTH, 200, True),
        ("expert", "paper", "study", BOTH, 199, False),
        ("expert", "paper", "study", BOTH, 234, False),
        ("expert", "bench", "image", ["frontal"], 202, True),
        ("expert", "bench, all", "image", BOTH, 234, True),
        ("expert", "bench, all", "image", BOTH, 235, False),
        ("expert", "bench", "image", ["frontal"], 32, False),
        ("test500", "bench", "image", ["frontal"], 518, True),
        ("test500", "bench, all", "image", BOTH, 668, True),
        ("test500", "bench, all", "image", BOTH, 669, False),
    ],
)
def test_another_number_is_another_sample(name, reference, unit, views, rows, same):
    of = {"paper": "U-Ones (CheXpert paper)", "bench": DENSENET, "bench, all": ALL_VIEWS}
    run = {**RADIOLOGISTS, "name": name, "views": views}
    reason = why(of[reference], run, protocol=name, unit=unit, rows=rows)
    counted = "studies" if unit == "study" else "images"
    told = f"{PROTOCOLS[name]}, here another sample of {rows} {counted}"
    assert reason == (None if same else told)


@pytest.mark.parametrize(
    ("name", "images", "studies"), [("expert", 202, 200), ("test500", 518, 500)]
)
@pytest.mark.parametrize("views", [["frontal"], BOTH])
def test_no_figure_of_images_stands_beside_studies_nor_one_of_frontal_views_beside_all(
    name, images, studies, views
):
    for unit, rows in (("image", images), ("study", studies)):
        run = {**RADIOLOGISTS, "name": name, "views": views}
        for one in sort(run, unit=unit, rows=rows)[0]:
            assert one.unit == unit
            assert list(VIEWS[one.views]) == views


def test_one_study_is_not_studies():
    reason = why("U-Ones (CheXpert paper)", RADIOLOGISTS, unit="study", rows=1)
    assert "another sample of 1 study;" in reason


def test_radiologists_truth_has_no_policy():
    assert same_names({**RADIOLOGISTS, "views": BOTH}, unit="study", rows=200) == PAPERS
    assert same_names(RADIOLOGISTS, rows=202) == {DENSENET}


@pytest.mark.parametrize("name", ["holdout", "expert", "test500", "other"])
def test_no_figure_of_another_protocol_stands_beside_a_run(name):
    rows = {"holdout": 19_103, "expert": 200, "test500": 500, "other": 19_103}[name]
    unit = "image" if name in ("holdout", "other") else "study"
    views = ["frontal"] if unit == "image" else BOTH
    same, other = sort({**REPORTS_WAY, "name": name, "views": views}, unit=unit, rows=rows)
    assert {one.protocol for one in same} == ({name} if name != "other" else set())
    for one, reason in other:
        if one.protocol != name:
            assert reason.startswith(f"{PROTOCOLS[one.protocol]}, here ")


@pytest.mark.parametrize("dataset", ["drawn", "nih", "mimic", "csv"])
def test_nothing_stands_beside_other_data(dataset):
    same, other = sort(dataset=dataset)
    assert same == []
    assert len(other) == len(read_references())
    assert all(f"data that are not CheXpert ({dataset})" in reason for _, reason in other)


def test_figures_of_labels_that_the_run_lacks_are_left_out():
    same, other = sort(labels=["Edema", "Fracture"])
    every = [*same, *(one for one, _ in other)]
    assert {one.label for one in every} == {"Edema", "Fracture", None}
    foreign, apart = sort(labels=["Effusion", "Mass"])
    assert foreign == [] == apart


def test_a_mean_stands_beside_a_run_with_all_its_labels_only():
    def means(labels):
        return {one.labels for one in sort(BENCHS_WAY, labels=labels)[0] if one.label is None}

    assert means(CHEXPERT_LABELS) == {"five"}
    assert means(COMPETITION_LABELS) == {"five"}
    assert means(COMPETITION_LABELS[:4]) == set()
    assert means(CHEXPERT_LABELS[:13]) == {"five"}
    reason = why(DENSENET, BENCHS_WAY, labels=COMPETITION_LABELS[:4], protocol="holdout")
    assert reason == "mean over five labels, here 4 of them"


def test_policies_of_a_truth_that_is_another_anyway_are_not_told():
    reason = why(ONES, {**RADIOLOGISTS, "uncertainty": "zeros"}, unit="study", rows=200)
    assert reason == (
        f"{PROTOCOLS['holdout']}, here valid.csv; "
        "split by image: patients of its test part were trained on; scored by image, here by study"
    )


def test_no_reason_holds_a_difference_or_a_rank():
    for protocol, unit, rows in ((REPORTS_WAY, "image", 19_103), (RADIOLOGISTS, "study", 200)):
        for one, reason in sort(protocol, unit=unit, rows=rows)[1]:
            told = f"{reason} {one.what}".lower()
            assert not any(word in told for word in ("better", "worse", "higher", "rank", "0."))
