"""What reporting guidelines ask for, and where the page answers it.

The items are data: `checklists.toml` beside this module, in our own words.
"""

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

ANSWERED, IN_PART, LEFT = "answered", "in part", "left to you"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a guideline."""

    number: str
    what: str
    at: str
    """The id of the place on the page that answers it; empty: none does."""
    left: str
    """What the author has to say; empty: nothing."""

    def state(self, places: Collection[str]) -> str:
        """Whether a page that has these places answers it."""
        if self.at not in places:
            return LEFT
        return IN_PART if self.left else ANSWERED


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A guideline."""

    id: str
    name: str
    about: str
    source: str
    items: Sequence[Item]

    def counts(self, places: Collection[str]) -> dict[str, int]:
        """How many items are answered, in part, and left to the author."""
        states = [item.state(places) for item in self.items]
        return {state: states.count(state) for state in (ANSWERED, IN_PART, LEFT)}


@cache
def read_checklists() -> tuple[Checklist, ...]:
    """CLAIM 2024, TRIPOD+AI and STARD-AI."""
    text = files("cxrtool.reports").joinpath("checklists.toml").read_text(encoding="utf-8")
    return tuple(
        Checklist(
            id=one["id"],
            name=one["name"],
            about=one["about"],
            source=one["source"],
            items=[
                Item(
                    number=item["n"],
                    what=item["what"],
                    at=item.get("at", ""),
                    left=item.get("left", ""),
                )
                for item in one["items"]
            ],
        )
        for one in tomllib.loads(text)["lists"]
    )
