import numpy as np
import pytest

from cxrtool.errors import DataError
from cxrtool.labels import CHEXPERT_LABELS, targets_and_mask

LABELS = ("No Finding", "Edema", "Fracture")
BLANK = np.nan


def targets(rows, policy, labels=LABELS):
    return targets_and_mask(np.array(rows, dtype=float), labels, policy)[0].tolist()


def test_zeros_maps_uncertain_and_blank_to_negative():
    assert targets([[BLANK, 1, -1]], "zeros") == [[0, 1, 0]]


def test_ones_maps_uncertain_to_positive_and_blank_to_negative():
    assert targets([[BLANK, 0, -1]], "ones") == [[0, 0, 1]]


@pytest.mark.parametrize("row", [[BLANK, BLANK, BLANK], [BLANK, 0, -1], [-1, 0, BLANK]])
def test_zeros_calls_a_row_without_positives_no_finding(row):
    assert targets([row], "zeros") == [[1, 0, 0]]


def test_zeros_leaves_an_explicit_negative_no_finding():
    assert targets([[0, BLANK, -1]], "zeros") == [[0, 0, 0]]


def test_zeros_does_not_fill_where_there_is_a_positive():
    assert targets([[BLANK, BLANK, 1]], "zeros") == [[0, 0, 1]]


def test_ones_never_fills():
    assert targets([[BLANK, 0, BLANK]], "ones") == [[0, 0, 0]]


def test_without_no_finding_nothing_is_filled():
    assert targets([[BLANK, -1]], "zeros", ("Edema", "Fracture")) == [[0, 0]]


def test_everything_counts_under_both_policies():
    raw = np.array([[1, 0, -1], [np.nan, np.nan, np.nan]])
    for policy in ("zeros", "ones"):
        assert targets_and_mask(raw, LABELS, policy)[1].all()


def test_an_unknown_value_is_named():
    with pytest.raises(DataError, match=r"row 1 .* 2 for Edema"):
        targets([[1, 0, 0], [0, 2, 0]], "ones")


def test_an_unknown_policy_is_named():
    with pytest.raises(DataError, match="'maybe'"):
        targets([[1, 0, 0]], "maybe")


def test_the_labels_are_chexperts_fourteen():
    assert len(set(CHEXPERT_LABELS)) == 14
    assert CHEXPERT_LABELS[0] == "No Finding"
    assert CHEXPERT_LABELS[-1] == "Support Devices"
