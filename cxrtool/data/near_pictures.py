"""The search for fingerprints that differ in a few bits, among millions, without comparing all.

Of fingerprints of 256 bits that differ in at most 15, one of their 8 words of 32 bits differs in
none or in one: so those alone are compared that share a word, as it is or with one bit changed. Of
all pairs of X-rays, which look alike, one in 5,000 does; words of 16 bits, equal ones alone, are
shared by one in 25.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.intp]
Words = NDArray[np.uint32]

LENGTH = 32
"""Bytes of a fingerprint."""
MOST_APART = 15
"""So many of its 256 bits may differ in one picture."""
WORDS, BITS = 8, 32
CHUNK = 1_000_000
"""Pairs that are compared at once: 64 MB."""


def first_near(looks: Bytes, others: Bytes) -> Places:
    """The first of m others (m, 32) that is near each of n fingerprints (n, 32); -1: none is."""
    ours, our_place = _distinct(looks)
    theirs, their_place = _distinct(others)
    first = np.full(len(theirs), len(others))
    np.minimum.at(first, their_place, np.arange(len(others)))
    nearest = np.full(len(ours), len(others))
    for rows, columns in _near_pairs(ours, theirs):
        np.minimum.at(nearest, rows, first[columns])
    found: Places = nearest[our_place]
    found[found == len(others)] = -1
    return found


def near_groups(looks: Bytes) -> Places:
    """(n,) the group of each fingerprint (n, 32): near ones are in one, also by way of others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    distinct, place = _distinct(looks)
    if not len(distinct):
        return place
    pairs = list(_near_pairs(distinct, distinct))
    rows, columns = (np.concatenate(side) for side in zip(*pairs, strict=True))
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(distinct),) * 2)
    _, group = connected_components(links, directed=False)
    groups: Places = group.astype(np.intp)[place]
    return groups


def _distinct(looks: Bytes) -> tuple[Bytes, Places]:
    """Each fingerprint once, and the place of each row's among them: copies may be many."""
    names = np.ascontiguousarray(looks).view(f"S{LENGTH}").ravel()
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    return looks[first], place


def _near_pairs(looks: Bytes, others: Bytes) -> Iterator[tuple[Places, Places]]:
    """Places in both of all pairs that are near, some more than once."""
    wide, other_wide = (np.ascontiguousarray(of).view(np.uint64) for of in (looks, others))
    for word in range(WORDS):
        for rows, columns in _sharing(_word(looks, word), _word(others, word)):
            apart = np.bitwise_count(wide[rows] ^ other_wide[columns]).sum(axis=1)
            near = apart <= MOST_APART
            yield rows[near], columns[near]


def _word(looks: Bytes, word: int) -> Words:
    """(n,) one of the words: half of low frequencies, in which X-rays are most alike."""
    halves = np.ascontiguousarray(looks).view(np.uint16).astype(np.uint32)
    return (halves[:, word] << np.uint32(16)) | halves[:, word + WORDS]


def _sharing(words: Words, others: Words) -> Iterator[tuple[Places, Places]]:
    """The pairs of places whose words differ in one bit or none, in bounded portions."""
    asked, ranks = np.argsort(words, kind="stable"), np.argsort(others, kind="stable")
    # Sorted, so that neighbours look in the same place: ten times as fast.
    sought, ranked = words[asked], others[ranks]
    if not len(ranked):
        return
    for bit in (0, *(1 << place for place in range(BITS))):
        flipped = sought ^ np.uint32(bit)
        first = np.searchsorted(ranked, flipped, "left")
        there = np.flatnonzero(ranked.take(first, mode="clip") == flipped)  # few are
        first = first[there]
        counts = np.searchsorted(ranked, flipped[there], "right") - first
        for rows, within in _portions(counts):
            yield asked[there[rows]], ranks[first[rows] + within]


def _portions(counts: Places) -> Iterator[tuple[Places, Places]]:
    """Each row as often as it counts, and from 0 the how manieth it is, some rows at a time."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + CHUNK, "right")), start + 1)
        many = counts[start:stop]
        rows = np.repeat(np.arange(start, stop), many)
        yield rows, np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
        start = stop
