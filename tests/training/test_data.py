"""The data of a training: its labels, and what cannot be trained on."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import NO_FINDING
from cxrtool.training.data import read_training_data
from tests.conftest import TINY
from tests.support.training_options import LABELS, ONCE, rows_of, set_up_tiny, write_cells


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("Edma", "did you mean Edema"),
        ("is_valid", "not known"),
        ("edema", "did you mean Edema"),
        (" , ", "names none"),
        ("", "names none"),
    ],
)
def test_labels_that_are_none_are_refused(prepared_once, asked, told):
    with pytest.raises(UsageError, match=told):
        read_training_data(replace(ONCE, labels=asked), prepared_once, 1, SILENT)


def test_only_labels_can_have_a_policy(prepared_once):
    config = replace(ONCE, uncertainty="ones,Edma=zeros")
    with pytest.raises(UsageError, match="did you mean Edema") as told:
        read_training_data(config, prepared_once, 1, SILENT)
    names = str(told.value).partition("there are ")[2].split(", ")
    assert names == LABELS


def test_no_finding_is_what_all_labels_make_of_it_in_train_and_in_valid(prepared):
    """Under zeros: no label positive, and not itself an explicit 0; also trained on alone."""
    for part in ("train", "valid"):
        some = rows_of(prepared, part)["path"].iloc[:4].tolist()
        write_cells(prepared, {(path, label): "" for path in some for label in LABELS})
        write_cells(prepared, {(some[1], "Fracture"): "1", (some[2], "Edema"): "-1"})
        write_cells(prepared, {(some[3], NO_FINDING): "0"})
    config = replace(TINY, uncertainty="zeros")
    whole = read_training_data(config, prepared, 1, SILENT)
    alone = read_training_data(replace(config, labels=NO_FINDING), prepared, 1, SILENT)
    for valid, part in ((False, "train"), (True, "valid")):
        raw = rows_of(prepared, part)[LABELS]
        expected = (raw == 1).sum(axis=1).eq(0) & raw[NO_FINDING].ne(0) | raw[NO_FINDING].eq(1)
        assert expected.iloc[:4].tolist() == [True, False, True, False]
        targets = whole.targets(valid=valid)[:, LABELS.index(NO_FINDING)]
        np.testing.assert_array_equal(targets, expected.to_numpy(np.float32))
        np.testing.assert_array_equal(alone.targets(valid=valid)[:, 0], targets)


def test_too_many_validations_and_too_large_a_batch_name_the_most(prepared_once):
    with pytest.raises(UsageError, match="an epoch has 4 batches"):
        set_up_tiny(prepared_once, limit=32, batch_size=8, validations=5)
    assert set_up_tiny(prepared_once, limit=32, batch_size=8, validations=4)
    with pytest.raises(UsageError, match="--batch-size 32 is the largest possible"):
        set_up_tiny(prepared_once, limit=32, batch_size=33)


def test_why_nothing_in_valid_can_be_scored_is_told(prepared):
    paths = rows_of(prepared, "valid")["path"]
    write_cells(prepared, {(path, "Fracture"): "" for path in paths})
    with pytest.raises(DataError, match=r"of --labels .*--limit 20 leaves \d+ .*larger --limit"):
        set_up_tiny(prepared, limit=20, labels="Fracture")
    with pytest.raises(DataError, match=r"of --labels .*`cxrtool split"):
        set_up_tiny(prepared, labels="Fracture")
