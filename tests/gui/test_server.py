"""The address and the server's end."""

import socket

import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.gui.server import bind, url_of


def test_a_port_in_use_names_the_next_step():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DataError, match=rf"port {port} is in use.*--port {port + 1}"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "999.1.1.1"])
def test_an_address_that_is_not_this_machines_is_refused(host):
    with pytest.raises(UsageError, match="--host"):
        bind(host, 0)


def test_the_address_is_one_that_a_browser_can_open():
    with bind("127.0.0.1", 0) as made:
        port = made.getsockname()[1]
        assert url_of(made, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        assert url_of(made, "0.0.0.0") == f"http://127.0.0.1:{port}/"
        assert url_of(made, "127.0.0.1", secure=True) == f"https://127.0.0.1:{port}/"
        assert url_of(made, "::1") == f"http://[::1]:{port}/"
