"""The checklists: every item there, and every answer a place that the page has."""

from dataclasses import replace

import pytest

from cxrtool.reports.card import Card
from cxrtool.reports.checklists import ANSWERED, IN_PART, LEFT, Item, read_checklists
from cxrtool.reports.page import SECTIONS
from tests.reports.test_page import (
    a_result,
    full_card,
    minimal,
    page,
    words,
)
from tests.reports.test_page import figures as figures

NEW_IN_STARD_AI = (
    *("1", "3", "6", "7", "11", "12", "13", "14", "15b", "15d", "23", "25", "28", "29", "35"),
    *("39", "40a", "40b"),
)


def test_every_item_of_each_guideline_is_there():
    claim, tripod, stard = read_checklists()
    assert [item.number for item in claim.items] == [str(at) for at in range(1, 45)]
    assert [item.number for item in tripod.items] == [str(at) for at in range(1, 28)]
    assert [item.number for item in stard.items] == list(NEW_IN_STARD_AI)
    for one in (claim, tripod, stard):
        for item in one.items:
            assert item.what
            assert item.at or item.left, f"{one.name} {item.number} says nothing"


@pytest.mark.parametrize(
    ("at", "left", "state"),
    [
        ("flow", "", ANSWERED),
        ("flow", "more", IN_PART),
        ("", "all", LEFT),
        ("elsewhere", "", LEFT),
    ],
)
def test_an_item_is_answered_where_its_place_is(at, left, state):
    assert Item(number="1", what="x", at=at, left=left).state({"flow", "card"}) == state


def test_every_answer_is_a_place_of_a_page_that_knows_all(figures):
    external = page(a_result(split=None), full_card(), figures)
    ids = {one["at"]["id"] for one in external.elements if "id" in one["at"]}
    for one in read_checklists():
        # Readers and robustness are sections of evaluations that were asked for them.
        assert {item.at for item in one.items} - {""} <= ids | set(SECTIONS), one.name
        counts = one.counts(ids)
        assert sum(counts.values()) == len(one.items)
        note = f"{counts[ANSWERED]} answered, {counts[IN_PART]} in part, {counts[LEFT]} left to you"
        assert note in words(external.section(one.id))
    rows = external.rows(external.one("table", external.section("claim")))
    assert rows[35] == ["35", "Numbers included and left out", "answered", ""]
    links = {one["at"]["href"] for one in external.all("a", external.section("claim"))}
    assert "#flow" in links


def rows_of(tree, name):
    return {row[0]: row[2] for row in tree.rows(tree.one("table", tree.section(name)))[1:]}


def test_what_a_page_does_not_know_it_does_not_claim():
    known = rows_of(page(card=full_card()), "claim")
    assert (known["35"], known["22"], known["33"]) == ("answered", "answered", "left to you")
    bare = rows_of(page(minimal(), Card(title="")), "claim")
    for number in ("8", "22", "23", "35", "36", "39"):
        assert bare[number] == "left to you"
    unknown = replace(full_card(), recipe={}, environment={"torch": ""})
    half = rows_of(page(card=unknown), "claim")
    assert (half["22"], half["23"], half["35"]) == ("left to you", "left to you", "answered")
