import os
import signal

import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.pools import in_processes


def squares(numbers):
    return [number**2 for number in numbers]


def ends_at_seven(numbers):
    if 7 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return numbers


@pytest.mark.parametrize("processes", [0, 1, 3, 50])
def test_results_come_in_the_order_of_the_items(processes):
    told = []
    found = in_processes(
        squares, range(10), chunk=4, processes=processes, doing="squares", advance=told.append
    )
    assert list(found) == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    assert told == [4, 4, 2]


def test_nothing_to_do_is_nothing():
    assert list(in_processes(squares, [], chunk=4, processes=3, doing="squares")) == []


def test_a_process_that_is_killed_is_one_message():
    work = in_processes(ends_at_seven, range(20), chunk=2, processes=2, doing="counts")
    with pytest.raises(DataError, match=r"a process that counts was killed, .*fewer --workers"):
        list(work)
