"""What each rule makes of one image's answers."""

import numpy as np
import pytest

from cxrtool.core.config import READERS
from cxrtool.data.reader_rules import RULES, Answers

NAN = float("nan")


def of_one(rule, answers):
    """What a rule makes of one image's answers to one label."""
    counted = Answers.of(np.float32(answers)[:, None], np.array([0]))
    return counted.combine(rule)[0].tolist()


@pytest.mark.parametrize(
    ("answers", "vote", "any_", "all_", "soft"),
    [
        ([1, 1, 0], 1, 1, 0, 0.667),
        ([1, 0, 0], 0, 1, 0, 0.333),
        ([1, 1, 1], 1, 1, 1, 1),
        ([0, 0, 0], 0, 0, 0, 0),
        ([1, 0], -1, 1, 0, 0.5),  # a tie
        ([1, 0, -1], -1, 1, 0, 0.5),
        ([1, 1, -1], 1, 1, -1, 0.833),
        ([0, -1], -1, -1, 0, 0.25),
        ([-1, -1, 1], -1, 1, -1, 0.667),
        ([-1, -1], -1, -1, -1, 0.5),
        ([1, NAN, NAN], 1, 1, 1, 1),  # one who answers, of three
        ([1, NAN, 0, 1], 1, 1, 0, 0.667),
        ([NAN, NAN], NAN, NAN, NAN, NAN),  # nobody answers
    ],
)
def test_what_each_rule_makes_of_answers(answers, vote, any_, all_, soft):
    for rule, expected in zip(READERS, (vote, any_, all_, soft), strict=True):
        np.testing.assert_array_equal(of_one(rule, answers), np.float32([expected]), rule)


def test_a_share_that_is_not_one_half_is_not_rounded_to_it():
    """1,500 of 2,999 readers: 0.50017, which with three decimals would be 0.5."""
    for positives, expected in ((1500, 0.501), (1499, 0.499)):
        answers = [1] * positives + [0] * (2999 - positives)
        assert of_one("soft", answers) == np.float32([expected])


def test_every_rule_has_its_name():
    assert tuple(RULES) == READERS


def test_each_image_and_label_is_counted_by_itself():
    values = np.float32([[1, NAN], [0, NAN], [-1, 0], [1, 1], [1, NAN]])
    counted = Answers.of(values, np.array([0, 3]))
    assert [count.tolist() for count in counted.all] == [
        [[1, 0], [2, 1]],
        [[1, 1], [0, 0]],
        [[1, 0], [0, 0]],
    ]
    assert counted.total.tolist() == [[3, 1], [2, 1]]
    assert counted.disagree.tolist() == [[True, False], [False, False]]
    assert Answers.of(values[:0], np.zeros(0, int)).combine("vote").shape == (0, 2)
