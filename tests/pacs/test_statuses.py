import pytest

from cxrtool.pacs.statuses import Outcome, status_of


@pytest.mark.parametrize(
    ("code", "outcome", "words"),
    [
        (0x0000, Outcome.ACCEPTED, "stored"),
        (0x0111, Outcome.ACCEPTED, "already there"),
        (0xB000, Outcome.ACCEPTED, "elements changed"),
        (0xB123, Outcome.ACCEPTED, "with a warning"),
        (0xA700, Outcome.LATER, "out of resources"),
        (0xA7FF, Outcome.LATER, "out of resources"),
        (0x0110, Outcome.LATER, "processing failed"),
        (0xA900, Outcome.REFUSED, "does not match its SOP class"),
        (0xC000, Outcome.REFUSED, "cannot be understood"),
        (0xCFFF, Outcome.REFUSED, "cannot be understood"),
        (0x0124, Outcome.REFUSED, "not authorised"),
        (0xFE00, Outcome.REFUSED, "not stored"),
        (0x1234, Outcome.REFUSED, "not stored"),
    ],
)
def test_a_status_says_whether_to_send_again(code, outcome, words):
    found = status_of(code)
    assert found.outcome is outcome
    assert words in found.words
    assert code == 0 or f"{code:04X}" in found.words
