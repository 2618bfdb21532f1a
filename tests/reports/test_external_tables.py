"""Tables of a run on several data sets: what is marked, left out and counted."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.evaluation.external import (
    ExternalResult,
    ExternalSet,
    InternalSet,
    differences,
)
from cxrtool.evaluation.operating_points import OperatingPoint
from cxrtool.evaluation.scoring import score_sample
from cxrtool.evaluation.shared_labels import LabelCells, SharedLabels
from cxrtool.evaluation.thresholds import ChosenRule, Rule
from cxrtool.reports.external_tables import external_tables
from tests.evaluation.test_external import ABOUT, sample_of

CELLS = LabelCells(blank_means="absent", blank=0.0, uncertain=0.0)
POINT = OperatingPoint(
    chosen=ChosenRule(rule=Rule("youden"), chosen_on="valid"),
    thresholds=np.array([0.5, np.nan, np.nan]),
)
LABELS = ("A", "B", "C")


def scored(rng, patients, labels):
    sample = sample_of(rng, patients, 1.0, labels)
    return score_sample(
        sample,
        replace(ABOUT, split="test"),
        point=POINT.choose(LABELS, labels),
        replicates=100,
        seed=1,
    )


def set_of(name, own, other):
    labels = other.raw.labels
    return ExternalSet(
        name=name,
        labels=SharedLabels(common=labels, renamed={}, missing=(), empty=(), other=()),
        cells=CELLS,
        unusable=0,
        other_views=0,
        result=other.result,
        differences=own and differences(own, other),
    )


@pytest.fixture(scope="module")
def sides():
    rng = np.random.default_rng(0)
    return scored(rng, 90, LABELS), scored(rng, 80, ("A", "C")), scored(rng, 12, ("B", "A"))


def tables_of(own, *others):
    internal = own and InternalSet(cells=CELLS, result=own.result)
    names = ("first", "second")[: len(others)]
    sets = [set_of(name, own, other) for name, other in zip(names, others, strict=True)]
    result = ExternalResult(run="r", internal=internal, sets=tuple(sets))
    return {table.caption.split(" ")[0]: table for table in external_tables(result)}, result


def test_one_set_beside_the_runs_own(sides):
    tables, result = tables_of(*sides[:2])
    aurocs = tables["AUROC"]
    assert list(tables) == ["AUROC", "Difference", "Positives", "Sensitivity", "Specificity"]
    assert aurocs.columns == ("label", "own test", "first")
    assert [row[0] for row in aurocs.rows] == ["A", "C", "mean of 2"]
    found = result.sets[0].differences
    assert aurocs.rows[0][2].startswith(f"{found.labels['A'].external.value:.3f} (")
    assert aurocs.rows[2][1].startswith(f"{found.mean.internal.value:.3f}")
    apart = tables["Difference"].rows[0][1]
    assert apart.startswith(f"{found.labels['A'].difference.value:+.3f} (")
    assert not apart.endswith("*")
    one = sides[1].result.labels["A"]
    assert tables["Positives"].rows[0][2] == f"{one.positives} of {one.n}"


def test_labels_without_a_threshold_are_counted_and_few_patients_marked(sides):
    tables, _ = tables_of(*sides)
    sensitivity = tables["Sensitivity"]
    assert [row[0] for row in sensitivity.rows] == ["A"]
    assert sensitivity.notes == ("2 labels without a threshold.",)
    rows = {row[0]: row for row in tables["Difference"].rows}
    assert rows["A"][2].endswith("*")
    assert not rows["A"][1].endswith("*")
    assert rows["B"][1] is rows["C"][2] is None
    assert any("fewer than 10 patients" in note for note in tables["Difference"].notes)
    # Each mean is over labels of its own, and none stands in one row with another.
    assert [row[0] for row in tables["AUROC"].rows] == ["A", "B", "C"]
    assert rows["mean of 2"][1] != rows["mean of 2"][2]


def test_without_the_runs_own_data_there_is_no_difference(sides):
    tables, _ = tables_of(None, sides[1])
    assert "Difference" not in tables
    assert tables["AUROC"].columns == ("label", "first")
