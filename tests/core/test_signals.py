"""One signal asks, its echo is the same one, and a later one interrupts."""

import os
import signal
import threading

import pytest

from cxrtool.core import signals
from cxrtool.core.signals import stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_is_an_echo_or_interrupts(number, monkeypatch):
    before = signal.getsignal(number)
    with stop_requests() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        os.kill(os.getpid(), number)
        monkeypatch.setattr(signals, "ECHO", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_only_the_main_thread_listens():
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with stop_requests() as asked:
            found.extend([asked(), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, before]
