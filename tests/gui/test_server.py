"""The address and the server's end."""

import asyncio
import socket

import pytest
import uvicorn

from cxrtool.core.errors import DataError, UsageError
from cxrtool.gui.server import _Server, bind, url_of


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
        assert url_of(made, "::1") == f"http://[::1]:{port}/"


def test_what_nobody_takes_is_looked_for_once_a_minute():
    swept = []
    server = _Server(uvicorn.Config(lambda: None), lambda: swept.append(1))

    async def minute():
        for tick in range(600, 1200):
            assert not await server.on_tick(tick)

    asyncio.run(minute())
    assert swept == [1]
