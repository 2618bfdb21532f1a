"""Images over TLS: with a certificate, and with one of the sender's where that is asked for."""

import socket
import ssl
from contextlib import suppress

import pytest

from cxrtool.core.errors import UsageError
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.receiver import Door, Receiver
from cxrtool.pacs.server_tls import server_tls
from cxrtool.pacs.spool import Spool
from tests.support import dicom_peer as wire
from tests.support.certificates import make_certificate


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


def accepted(port, pair, *, own=False):
    """Whether a peer that trusts the listener is let in."""
    context = ssl.create_default_context(cafile=str(pair[0]))
    if own:
        context.load_cert_chain(*pair)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=wire.SECONDS) as plain,
        suppress(ssl.SSLError, ConnectionResetError),
        context.wrap_socket(plain, server_hostname="127.0.0.1") as made,
    ):
        one = wire.Peer(made)
        one.send(wire.associate())
        return one.read()[0] == wire.ACCEPT
    return False


def test_peers_are_let_in_over_tls_while_another_one_says_nothing(tmp_path, pair):
    door = Door(port=0, tls=server_tls(*pair, None))
    with (
        Receiver(door, Spool(tmp_path), ListenCounts()).open() as receiver,
        socket.create_connection(("127.0.0.1", receiver.port)),
    ):
        assert accepted(receiver.port, pair)


def test_a_certificate_is_asked_for_where_authorities_are_named(tmp_path, pair, capfd):
    door = Door(port=0, tls=server_tls(*pair, pair[0]), timeout=5)
    with Receiver(door, Spool(tmp_path), ListenCounts()).open() as receiver:
        assert not accepted(receiver.port, pair)
        assert accepted(receiver.port, pair, own=True)
    assert capfd.readouterr() == ("", "")


def test_files_that_do_not_go_together_are_refused(tmp_path, pair):
    certificate, key = pair
    assert server_tls(None, None, None) is None
    with pytest.raises(UsageError, match="go together"):
        server_tls(certificate, None, None)
    with pytest.raises(UsageError, match="go together"):
        server_tls(None, None, certificate)
    with pytest.raises(UsageError, match="not a certificate with its key"):
        server_tls(key, certificate, None)
    with pytest.raises(UsageError, match="--tls-ca"):
        server_tls(certificate, key, tmp_path / "none.pem")
