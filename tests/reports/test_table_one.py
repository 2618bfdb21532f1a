"""Table 1: patients and images are each counted once, and what is missing is counted too."""

import numpy as np
import pandas as pd
import pytest

from cxrtool.evaluation.protocol import Protocol
from cxrtool.reports.cohort import Cohort
from cxrtool.reports.table_one import Ages, LabelCount, table_one

PROTOCOL = {"name": "other", "labels_by": "x", "split_by": "patient", "views": ("frontal",)}


def protocol(policy="ignore", blank="zeros"):
    return Protocol(**PROTOCOL, uncertainty=policy, blank=blank)


def cohort(parts=True):
    rows = pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "c", "d"],
            "view": ["frontal", "lateral", "frontal", "frontal", ""],
            "orientation": ["AP", "", "PA", "AP", ""],
            "sex": ["", "Female", "Male", "Male", ""],
            "age": [40.0, 41.0, 60.0, np.nan, 20.0],
            "path": list("vwxyz"),
            "study_id": "",
            "source": "train",
            "Edema": [1.0, -1.0, 0.0, np.nan, 1.0],
            "Fracture": [np.nan] * 5,
        }
    )
    split = pd.Series(["train", "train", "train", "train", "test"]) if parts else None
    return Cohort(rows=rows, parts=split, facts={})


def test_patients_and_images_are_each_counted_once():
    table = table_one({"own": cohort()}, ["Edema"], protocol())
    train, test = table.columns
    assert (train.name, train.images, train.patients) == ("train", 4, 3)
    assert (test.name, test.images, test.patients) == ("test", 1, 1)
    # Of a: the age at the first image, and the sex that any of them tells.
    assert train.ages == Ages(middle=50, low=45, high=55)
    assert (train.without_age, test.without_age) == (1, 0)
    assert train.sexes == {"Female": 1, "Male": 2}
    assert test.sexes == {"not known": 1}
    assert table.sexes == ("Female", "Male", "not known")
    assert train.views == {"frontal AP": 2, "lateral": 1, "frontal PA": 1}
    assert table.views[-1] == "not known"
    assert table.labels == ("Edema",)
    assert train.labels["Edema"] == LabelCount(positives=1, n=3, uncertain=1, blank=1)
    assert train.labels["Edema"].prevalence == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("policy", "blank", "positives", "n"),
    [("ones", "zeros", 2, 4), ("zeros", "zeros", 1, 4), ("ignore", "ignore", 1, 2)],
)
def test_a_label_counts_as_the_protocol_says(policy, blank, positives, n):
    [train, _] = table_one({"own": cohort()}, ["Edema"], protocol(policy, blank)).columns
    found = train.labels["Edema"]
    assert (found.positives, found.n, found.uncertain, found.blank) == (positives, n, 1, 1)


def test_another_data_set_stands_beside_the_runs_own_parts():
    table = table_one({"": cohort(), "other": cohort(parts=False)}, ["Edema", "x"], protocol())
    assert [one.name for one in table.columns] == ["train", "test", "other"]
    assert table.columns[2].images == 5
    assert table.labels == ("Edema",)


def test_ages_that_nobody_knows_have_no_median():
    unknown = cohort(parts=False)
    unknown.rows["age"] = np.nan
    [column] = table_one({"x": unknown}, [], protocol()).columns
    assert column.ages is None
    assert column.without_age == 4
    assert LabelCount(positives=0, n=0, uncertain=0, blank=0).prevalence is None
