"""What an archive's statuses mean: of C-STORE, and as reasons in answers to STOW-RS.

The codes are the same for both (PS3.4, table B.2-1; PS3.7, annex C; PS3.18, 10.5.3).
"""

from enum import Enum
from typing import NamedTuple

SUCCESS = 0x0000
NOT_SUPPORTED = 0x0122
DUPLICATE = 0x0111


class Outcome(Enum):
    """What became of an instance."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """It will be, whenever it is sent as it is."""
    LATER = "later"
    """It may be taken when it is sent again."""


class Status(NamedTuple):
    """A status as people and programs read it."""

    outcome: Outcome
    words: str


WORDS = {
    SUCCESS: (Outcome.ACCEPTED, "stored"),
    0x0001: (Outcome.ACCEPTED, "stored, optional attributes are not supported"),
    0x0107: (Outcome.ACCEPTED, "stored, with a warning on its attributes"),
    0x0110: (Outcome.LATER, "processing failed there"),
    DUPLICATE: (Outcome.ACCEPTED, "it was already there"),
    0x0116: (Outcome.ACCEPTED, "stored, an attribute's value is out of its range"),
    0x0117: (Outcome.REFUSED, "its SOP Instance UID is not taken"),
    0x0118: (Outcome.REFUSED, "its SOP class is unknown there"),
    NOT_SUPPORTED: (Outcome.REFUSED, "its SOP class is not supported"),
    0x0124: (Outcome.REFUSED, "storing is not authorised"),
    0x0213: (Outcome.LATER, "a resource is at its limit"),
    0xB000: (Outcome.ACCEPTED, "stored, with elements changed"),
    0xB006: (Outcome.ACCEPTED, "stored, with elements left out"),
    0xB007: (Outcome.ACCEPTED, "stored, though it does not match its SOP class"),
}
"""By their exact code."""
FAMILIES = {
    0xA7: (Outcome.LATER, "out of resources"),
    0xA9: (Outcome.REFUSED, "the data set does not match its SOP class"),
    0xC: (Outcome.REFUSED, "it cannot be understood"),
    0xB: (Outcome.ACCEPTED, "stored, with a warning"),
}
"""By their first two digits, or their first one."""
UNKNOWN = (Outcome.REFUSED, "it was not stored")


def status_of(code: int) -> Status:
    """What a status, or a failure or warning reason, says of an instance."""
    family = FAMILIES.get(code >> 8) or FAMILIES.get(code >> 12) or UNKNOWN
    outcome, words = WORDS.get(code, family)
    return Status(outcome, words if code == SUCCESS else f"{words} (status {code:04X})")
