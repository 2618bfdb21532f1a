import itertools
import re

import numpy as np
import pytest

from cxrtool.core.config import BLANKS, POLICIES
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import (
    CHEXPERT_LABELS,
    MIXED,
    SMOOTH_ONES,
    SMOOTH_ZEROS,
    label_number,
    majority,
    named_ones,
    parse_policy,
    target_ranges,
    targets_and_mask,
)

LABELS = ("No Finding", "Edema", "Fracture")
BLANK = np.nan
NONE = np.nan
"""In an expected table: no target."""
FOUR = (1, 0, -1, BLANK)


def targets(rows, policy, labels=LABELS, blank="zeros"):
    """Targets as lists, None where masked."""
    values, mask = targets_and_mask(np.array(rows, dtype=float), labels, policy, blank)
    assert values.dtype == np.float32
    return np.where(mask, values, None).tolist()


@pytest.mark.parametrize(
    ("policy", "edema", "fracture"),
    [  # of 1, 0, -1, blank
        ("zeros", [1, 0, 0, 0], [1, 0, 0, 0]),
        ("ones", [1, 0, 1, 0], [1, 0, 1, 0]),
        ("ignore", [1, 0, None, 0], [1, 0, None, 0]),
        ("smooth", [1, 0, None, 0], [1, 0, None, 0]),
        ("smooth-zeros", [1, 0, None, 0], [1, 0, None, 0]),
        ("mixed", [1, 0, 1, 0], [1, 0, 0, 0]),
        ("ones,Fracture=zeros", [1, 0, 1, 0], [1, 0, 0, 0]),
        ("mixed,Fracture=ignore", [1, 0, 1, 0], [1, 0, None, 0]),
        ("ignore,Edema=ones,Fracture=smooth", [1, 0, 1, 0], [1, 0, None, 0]),
    ],
)
@pytest.mark.parametrize("blank", BLANKS)
def test_what_each_policy_makes_of_the_four_values(policy, edema, fracture, blank):
    expected = [list(pair) for pair in zip(edema, fracture, strict=True)]
    if blank == "ignore":
        expected[3] = [None, None]
    rows = [[value, value] for value in FOUR]
    assert targets(rows, policy, ("Edema", "Fracture"), blank) == expected


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ("zeros", (0, 0)),
        ("ones", (1, 1)),
        ("ignore", (NONE, NONE)),
        ("smooth", (0.55, 0.85)),
        ("smooth-zeros", (0, 0.3)),
    ],
)
@pytest.mark.parametrize(("blank", "unsaid"), [("zeros", 0), ("ignore", NONE)])
def test_the_ranges_of_the_four_values(policy, ends, blank, unsaid):
    ranges = target_ranges(np.array([[v] for v in FOUR]), ("Edema",), policy, blank)
    assert ranges.dtype == np.float32
    expected = np.array([[(1, 1)], [(0, 0)], [ends], [(unsaid, unsaid)]], np.float32)
    np.testing.assert_array_equal(ranges, expected)


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    "policy", [*POLICIES, "ones,Edema=smooth,Fracture=ignore", "zeros,Edema=zeros"]
)
def test_the_truth_is_the_training_targets_that_are_fixed(policy, blank):
    raw = np.array(list(itertools.product(FOUR, repeat=3)), dtype=float)
    values, mask = targets_and_mask(raw, LABELS, policy, blank)
    lower, upper = np.moveaxis(target_ranges(raw, LABELS, policy, blank), -1, 0)
    np.testing.assert_array_equal(mask, lower == upper)
    np.testing.assert_array_equal(values[mask], lower[mask])
    assert set(values[~mask]) <= {0}
    np.testing.assert_array_equal(np.isnan(lower), np.isnan(upper))
    drawn = ~mask & ~np.isnan(lower)
    assert (raw[drawn] == -1).all()
    allowed = {tuple(np.float32(ends)) for ends in (SMOOTH_ONES, SMOOTH_ZEROS)}
    assert set(zip(lower[drawn], upper[drawn], strict=True)) <= allowed


@pytest.mark.parametrize("row", [[BLANK, BLANK, BLANK], [BLANK, 0, -1], [-1, 0, BLANK]])
@pytest.mark.parametrize(
    "policy", ["zeros", "zeros,Edema=zeros", "ones,No Finding=zeros,Edema=zeros,Fracture=zeros"]
)
def test_zeros_for_all_calls_a_row_without_positives_no_finding(row, policy):
    assert targets([row], policy) == [[1, 0, 0]]
    ranges = target_ranges(np.array([row], dtype=float), LABELS, policy)
    assert ranges.tolist() == [[[1, 1], [0, 0], [0, 0]]]


def test_an_explicit_negative_no_finding_stays():
    assert targets([[0, BLANK, -1]], "zeros") == [[0, 0, 0]]


def test_nothing_is_filled_where_there_is_a_positive():
    assert targets([[BLANK, BLANK, 1]], "zeros") == [[0, 0, 1]]


@pytest.mark.parametrize("policy", [*POLICIES[1:], "zeros,Fracture=ones", "ones,No Finding=zeros"])
def test_no_other_policy_fills(policy):
    assert targets([[BLANK, 0, BLANK]], policy) == [[0, 0, 0]]


def test_where_what_is_not_mentioned_is_not_known_nothing_is_filled():
    assert targets([[BLANK, 0, BLANK], [-1, 0, 0]], "zeros", blank="ignore") == [
        [None, 0, None],
        [0, 0, 0],
    ]


def test_without_no_finding_nothing_is_filled():
    assert targets([[BLANK, -1]], "zeros", ("Edema", "Fracture")) == [[0, 0]]


def test_the_raw_values_are_left_as_they_are():
    raw = np.array([[BLANK, 0, -1]], dtype=np.float32)
    for policy in POLICIES:
        targets_and_mask(raw, LABELS, policy)
    np.testing.assert_array_equal(raw, np.array([[BLANK, 0, -1]], dtype=np.float32))


def test_mixed_is_what_the_winning_entries_share_on_their_five_labels():
    mixed = parse_policy("mixed", CHEXPERT_LABELS)
    assert {mixed[label] for label in ("Atelectasis", "Edema")} == {"ones"}
    assert {mixed[n] for n in ("Cardiomegaly", "Consolidation", "Pleural Effusion")} == {"zeros"}


def test_mixed_decides_on_every_label_of_chexpert():
    assert tuple(MIXED) == CHEXPERT_LABELS
    assert "mixed" not in MIXED.values()


def test_mixed_ignores_the_uncertain_rows_of_labels_that_are_not_chexperts():
    assert parse_policy("mixed", ("Edema", "Hernia")) == {"Edema": "ones", "Hernia": "ignore"}


@pytest.mark.parametrize("text", ["ones", "ones,Pleural Effusion=zeros"])
def test_a_policy_names_every_label_in_their_order(text):
    assert tuple(parse_policy(text, CHEXPERT_LABELS)) == CHEXPERT_LABELS


def test_pairs_stand_over_the_default_with_or_without_spaces():
    assert parse_policy(
        " ones , Pleural Effusion = zeros,a=b=ignore", ("Pleural Effusion", "a=b", "Edema")
    ) == {"Pleural Effusion": "zeros", "a=b": "ignore", "Edema": "ones"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one", "'one' is not known: did you mean ones?"),
        ("", "'' is not known: there are zeros, ones,"),
        ("ones,Edema=zero", "policy of Edema 'zero' is not known: did you mean zeros"),
        ("ones,Edema=", "policy of Edema '' is not known: there are zeros, ones,"),
        ("ones,Edema=mixed", "policy of Edema 'mixed' is not known: there are zeros, ones,"),
        ("ones,Oedema=zeros", "label 'Oedema' is not known: did you mean Edema?"),
        ("ones,Edema=zeros,Edema=zeros", "names Edema twice"),
        ("Edema=zeros", "write theirs first, such as 'ones,Edema=zeros'"),
        ("ones,zeros", "'zeros' is no LABEL=POLICY"),
        ("ones,", "'' is no LABEL=POLICY"),
    ],
)
def test_a_policy_that_cannot_be_read_is_told(text, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        parse_policy(text, LABELS)
    with pytest.raises(UsageError, match=re.escape(told)):
        targets([[1, 0, 0]], text)


def test_an_unknown_blank_is_told():
    with pytest.raises(UsageError, match="blank 'zero' is not known: did you mean zeros"):
        targets([[1, 0, 0]], "ones", blank="zero")


def test_an_unknown_value_is_named():
    with pytest.raises(DataError, match=r"row 1 .* 2 for Edema"):
        targets([[1, 0, 0], [0, 2, 0]], "ones")


SHARES = [1, 0.667, 0.5, 0.333, 0]


def test_a_share_of_readers_is_its_own_target_under_any_policy():
    rows = np.array([[share] for share in SHARES])
    for policy in POLICIES:
        ranges = target_ranges(rows, ("Edema",), policy)
        np.testing.assert_array_equal(ranges, np.float32(rows)[..., None].repeat(2, -1))


def test_a_share_of_readers_is_scored_by_the_majority_and_a_half_is_not():
    assert targets([[share] for share in SHARES], "zeros", ("Edema",)) == [
        [1],
        [1],
        [None],
        [0],
        [0],
    ]


def test_the_majority_is_above_one_half_and_there_is_none_at_it():
    positive, decided = majority(np.array([[1, 0.501, 0.5, 0.499, 0, BLANK]], np.float32))
    assert positive.tolist() == [[True, True, False, False, False, False]]
    assert decided.tolist() == [[True, True, False, True, True, False]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([BLANK, 0.333, 0], [1, 0.333, 0]),  # most readers saw nothing
        ([BLANK, 0.5, 0], [0, 0.5, 0]),  # not known
        ([BLANK, 0.667, 0], [0, 0.667, 0]),
        ([0.333, 0, 0], [0.333, 0, 0]),  # readers' own word stays
        ([0.667, 0, 0], [0.667, 0, 0]),
        ([-1, 0, 0], [1, 0, 0]),
    ],
)
def test_no_finding_is_filled_where_most_readers_saw_nothing_else(row, expected):
    ranges = target_ranges(np.array([row], dtype=float), LABELS, "zeros")
    np.testing.assert_array_equal(ranges[0, :, 0], np.float32(expected))


@pytest.mark.parametrize("text", ["0.5", " .667 ", "1e-1"])
def test_a_fraction_is_a_label_only_where_shares_are_meant(text):
    assert label_number(text) is None
    assert label_number(text, shares=True) == float(text)


@pytest.mark.parametrize("text", ["1.5", "-0.5", "x", "inf", "2"])
def test_what_is_no_share_is_no_label(text):
    assert label_number(text, shares=True) is None


@pytest.mark.parametrize("shares", [True, False])
def test_the_four_values_are_read_in_either_way(shares):
    found = [label_number(text, shares=shares) for text in ("1", "0.0", " -1 ", "")]
    np.testing.assert_array_equal(found, [1, 0, -1, BLANK])


@pytest.mark.parametrize("text", ["NA", "nan", "NaN", "<NA>", "None", "NULL", "n/a", "  "])
def test_a_blank_may_be_written_as_programs_do(text):
    assert np.isnan(label_number(text))


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("YES", "no"), (" true ", "NO")])
def test_a_label_may_be_written_in_words(yes, no):
    assert (label_number(yes), label_number(no)) == (1, 0)
    assert label_number("maybe") is None


def test_the_labels_are_chexperts_fourteen():
    assert len(set(CHEXPERT_LABELS)) == 14
    assert CHEXPERT_LABELS[0] == "No Finding"
    assert CHEXPERT_LABELS[-1] == "Support Devices"


def test_a_label_twice_is_refused_and_all_that_are_unknown_are_told():
    with pytest.raises(UsageError, match="--labels names Edema twice"):
        named_ones("--labels", "Edema,Fracture,Edema", ["Edema", "Fracture"])
    with pytest.raises(UsageError, match=r"2 labels are not known: 'Edemma' \(did you mean Edema"):
        named_ones("--labels", "Edemma,x,Fracture", ["Edema", "Fracture"])
