import pytest

from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.retries import patiently


def acting(*outcomes):
    """An action with these outcomes in turn."""
    left = iter(outcomes)

    def act():
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return act


def test_what_fails_for_a_while_is_tried_again():
    slept = []
    busy = TransientError("busy", retry_after=9)
    assert patiently(acting(TransientError("x"), busy, 7), (1, 4, 15), slept.append) == 7
    assert slept == [1, 9]


def test_nobody_is_waited_for_too_long():
    slept = []
    busy = TransientError("busy", retry_after=9e9)
    assert patiently(acting(busy, 7), (1,), slept.append) == 7
    assert slept == [60]


def test_the_last_failure_is_raised_and_lasting_ones_at_once():
    with pytest.raises(TransientError, match="second"):
        patiently(acting(TransientError("first"), TransientError("second")), (0,))
    with pytest.raises(DestinationError, match="wrong"):
        patiently(acting(DestinationError("wrong"), 7), (0,))
