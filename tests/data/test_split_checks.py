"""Labels that a part cannot judge, with what it lacks and under which policy."""

import numpy as np

from cxrtool.data.split_checks import undefined_labels

PARTS = np.array(["train"] * 3 + ["valid"] * 2, dtype=object)


def test_a_part_with_both_classes_of_all_labels_is_left_out():
    both = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]], bool)
    assert undefined_labels(PARTS, ["train", "valid"], {"ones": both}, ["A", "B"]) == {}


def test_what_a_part_lacks_is_named_with_the_policy_where_it_is_one_alone():
    ones = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [1, 1]], bool)
    zeros = ones.copy()
    zeros[4, 0] = False
    found = undefined_labels(PARTS, ["train", "valid"], {"ones": ones, "zeros": zeros}, ["A", "B"])
    assert list(found) == ["valid"]
    assert found["valid"]["B"] == "no negative patient"
    assert found["valid"]["A"].startswith("no positive patient under ")
    assert undefined_labels(PARTS, ["train"], {"ones": ones}, ["A", "B"]) == {}
