"""The protocol says on what scores were made."""

import pandas as pd
import pytest

from tests.conftest import Listening, call_chexperts
from tests.support.evaluating import evaluate


def test_the_protocol_names_the_views_that_are_there(trained):
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    split = pd.read_csv(trained.workspace.split)
    at = split.index[split["split"] == "test"][0]
    frame.loc[frame["path"] == split.loc[at, "path"], ["view", "orientation"]] = ["lateral", ""]
    frame.to_csv(trained.workspace.manifest, index=False)
    assert evaluate(trained).protocol.views == ("frontal", "lateral")


def test_radiologists_rows_are_another_protocol(trained):
    call_chexperts(trained.workspace)
    result = evaluate(trained, split="expert")
    assert result.protocol.name == "expert"
    assert result.protocol.labels_by == "radiologists of valid.csv"


@pytest.mark.parametrize("part", ["train", "valid"])
def test_scores_of_what_a_run_was_made_on_carry_a_warning(trained, part):
    listening = Listening()
    evaluate(trained, listening, split=part)
    expected = {"train": "the training images themselves", "valid": "chosen on valid"}[part]
    others = ("patients with a positive", "weighted sampling")
    of_part = [text for text in listening.warnings if not any(other in text for other in others)]
    assert len(of_part) == 1
    assert expected in of_part[0]


@pytest.mark.parametrize(("part", "name"), [("train", "other"), ("valid", "holdout")])
def test_a_score_of_the_training_is_no_hold_out(trained, part, name):
    call_chexperts(trained.workspace)
    protocol = evaluate(trained, split=part).protocol
    assert protocol.name == name
    assert protocol.trained_on == (part == "train")
