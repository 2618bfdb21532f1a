"""The card of a run's part: its own workspace's numbers, and lines that lead to the images."""

import csv
from dataclasses import replace

import pytest

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.console import SILENT
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.evaluation.run_part import choose_part
from cxrtool.evaluation.run_points import chosen_points
from cxrtool.inference.part_scores import score_part
from cxrtool.reports.card import Card
from cxrtool.reports.part_card import CURVES, complete_card, training_curves
from tests.support.copies import copy_folder
from tests.support.evaluating import QUICK


@pytest.fixture(scope="module")
def scored(trained_once, tmp_path_factory):
    """A workspace of this module's own, and a function that scores its run on test."""
    folder = copy_folder(trained_once.workspace.folder, tmp_path_factory.mktemp("card") / "cxr")
    workspace, run = Workspace(folder), RunFolder(folder / "runs" / trained_once.run)

    def score(unit):
        config = EvaluateConfig(**{**QUICK, "run": run.name, "unit": unit, "bootstrap": 0})
        part = choose_part(run, config, workspace, SILENT)
        point = chosen_points(run, part.card, workspace, config).point
        return part, score_part(part, config, point, None, seed=1, reporter=SILENT)

    return score


def completed(part, scored):
    # Few drawn patients are enough to be listed.
    labels = {name: replace(one, too_few=False) for name, one in scored.result.labels.items()}
    scored = replace(scored, result=replace(scored.result, labels=labels))
    return complete_card(Card(title="x"), part, scored, {"device": "cpu"})


@pytest.mark.parametrize("unit", ["image", "study"])
def test_lines_lead_to_the_images_that_were_called_wrongly(scored, unit):
    part, found = scored(unit)
    card = completed(part, found)
    assert card.failures.table == "predictions/test.csv"
    with (part.run.path / card.failures.table).open(newline="") as file:
        table = [None, *csv.reader(file)]  # the first line is line 1
    paths = dict(zip(part.rows["path"], part.rows.index, strict=True))
    listed = 0
    for one in card.failures.labels:
        at = found.sample.labels.index(one.label)
        for failures, positive in ((one.misses, True), (one.false_alarms, False)):
            for failure in failures:
                rows = part.rows.loc[[paths[table[line][0]] for line in failure.lines]]
                assert len(rows) == 1 or unit == "study"
                assert rows["study_id"].nunique() == 1
                key = rows["path"].iloc[0] if unit == "image" else rows["study_id"].iloc[0]
                same = (found.sample.keys == key) & (
                    found.sample.patients == rows["patient_id"].iloc[0]
                )
                assert found.sample.targets[same, at].tolist() == [positive]
                listed += 1
    assert listed > 10


def test_the_flow_and_table_one_are_of_the_runs_workspace(scored):
    part, found = scored("image")
    card = completed(part, found)
    assert card.as_trained
    assert card.flow.scored.rows == found.result.n == card.flow.parts["test"].rows
    assert card.flow.parts["train"].patients == len(part.card.train_patients)
    columns = {one.name: one for one in card.table_one.columns}
    assert columns["test"].images == found.result.n
    for label, counts in columns["test"].labels.items():
        own = found.result.labels[label]
        assert (counts.positives, counts.n) == (own.positives, own.n)
    assert card.compute["hardware of the training"] == "cpu"
    assert card.compute["speed of the training"].endswith("images/s while training")
    assert training_curves(part.run) == {CURVES: part.run.curves}
    assert training_curves(RunFolder(part.run.path / "gone")) == {}


def test_a_workspace_that_is_gone_leaves_the_page_without_a_flow(scored, tmp_path):
    part, found = scored("image")
    card = completed(replace(part, workspace=Workspace(tmp_path)), found)
    assert card.flow is None
    assert card.table_one is None
    assert card.failures.labels
