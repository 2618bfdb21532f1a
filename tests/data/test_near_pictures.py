"""Near fingerprints are found as by comparing all pairs, and copies of one do not multiply."""

import numpy as np
import pytest

from cxrtool.data import near_pictures as near_pictures
from cxrtool.data.near_pictures import MOST_APART, first_near, near_groups


def bits_of(rng, count):
    return np.unpackbits(rng.integers(0, 256, (count, 32), dtype=np.uint8), axis=1)


@pytest.fixture
def drifting():
    """200 fingerprints, each ever farther from one of 200 others: (400, 256) bits."""
    rng = np.random.default_rng(0)
    bits = bits_of(rng, 400)
    for row in range(200):
        bits[row] = bits[200 + row]
        bits[row, rng.choice(256, row // 8, replace=False)] ^= 1
    return bits


@pytest.mark.parametrize("portion", [near_pictures.CHUNK, 7])
def test_the_search_finds_what_comparing_all_pairs_finds(monkeypatch, drifting, portion):
    monkeypatch.setattr(near_pictures, "CHUNK", portion)
    looks = np.packbits(drifting, axis=1)
    apart = (drifting[:200, None] != drifting[None, 200:]).sum(axis=2)
    near = apart <= MOST_APART
    assert 100 < near.any(axis=1).sum() < 150
    expected = np.where(near.any(axis=1), near.argmax(axis=1), -1)
    np.testing.assert_array_equal(first_near(looks[:200], looks[200:]), expected)


def test_every_way_to_spread_the_most_bits_that_may_differ_is_found():
    rng = np.random.default_rng(1)
    bits = np.repeat(bits_of(rng, 1), 3000, axis=0)
    for row in bits[1:]:
        row[rng.choice(256, MOST_APART, replace=False)] ^= 1
    looks = np.packbits(bits, axis=1)
    assert (first_near(looks[1:], looks[:1]) == 0).all()
    # One bit more in each, and none is: all 16 in eight words, two a word.
    further = bits[:1].copy()
    further[0, ::16] ^= 1
    assert first_near(np.packbits(further, axis=1), looks[:1]).tolist() == [-1]


def test_of_equal_ones_the_first_is_named_and_nothing_is_among_none():
    one = np.packbits(bits_of(np.random.default_rng(2), 1), axis=1)
    many, none = np.repeat(one, 5, axis=0), np.zeros((0, 32), np.uint8)
    assert first_near(many, many).tolist() == [0] * 5
    assert first_near(many, none).tolist() == [-1] * 5
    assert first_near(none, many).tolist() == near_groups(none).tolist() == []


def test_groups_are_joined_also_by_way_of_others():
    rng = np.random.default_rng(3)
    bits = bits_of(rng, 6)
    bits[1], bits[2] = bits[0], bits[0]
    bits[1, :12] ^= 1  # 12 from the first
    bits[2, :24] ^= 1  # 24 from the first, 12 from the second
    bits[5] = bits[4]
    groups = near_groups(np.packbits(bits, axis=1))
    together = groups[:, None] == groups[None]
    expected = np.eye(6, dtype=bool)
    expected[:3, :3] = expected[4:, 4:] = True
    np.testing.assert_array_equal(together, expected)


def test_a_thousand_copies_are_compared_once(monkeypatch):
    pairs = []
    portions = near_pictures._portions
    monkeypatch.setattr(
        near_pictures, "_portions", lambda counts: pairs.append(counts.sum()) or portions(counts)
    )
    one = np.packbits(bits_of(np.random.default_rng(4), 1), axis=1)
    assert len(set(near_groups(np.repeat(one, 1000, axis=0)).tolist())) == 1
    assert sum(pairs) == near_pictures.WORDS
