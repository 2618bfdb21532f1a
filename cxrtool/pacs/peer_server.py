"""pynetdicom's server, taken further where a peer could hold it up.

TLS is agreed in each association's own thread, a peer that falls silent within a message is cut
off, what is no message ends its own association alone, and no message may be of any length.
"""

import io
import socket
from socketserver import TCPServer

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

MOST_PDU = 2**24
"""Bytes of one that is read at all."""
AT_ONCE = 2**16
BACKLOG = 128


class Dropped(io.BytesIO):
    """Takes the rest of an object that is too large, and keeps nothing."""

    def write(self, content: object, /) -> int:
        """Nothing of it."""
        return 0


class _Socket(AssociationSocket):
    """Reads in larger parts than 4 KiB, and no message of any length that a peer claims."""

    def recv(self, nr_bytes: int) -> bytearray:
        content = bytearray()
        peer = self.socket
        if nr_bytes > MOST_PDU or peer is None:
            return content  # which pynetdicom takes for the end of the connection
        while len(content) < nr_bytes:
            part = peer.recv(min(AT_ONCE, nr_bytes - len(content)))
            if not part:
                break
            content += part
        return content


class _Messages(DIMSEServiceProvider):
    """Ends an association that says what is no command, of which the thread would die."""

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            super().receive_primitive(primitive)
        except Exception:
            self.message = None
            self.dul.event_queue.put("Evt19")  # an invalid unit (PS3.8, 9.2.1)


class PeerHandler(RequestHandler):
    """Gives each association our socket and our reading of messages."""

    def _create_association(self) -> Association:
        made = super()._create_association()
        # A second socket would say a second time that a peer has connected.
        made.dul.socket.__class__ = _Socket
        made.dimse.__class__ = _Messages
        return made


class PeerServer(ThreadedAssociationServer):
    """Lets nobody keep others out."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A peer that has connected, and its address."""
        assert self.socket is not None
        peer, address = self.socket.accept()
        peer.settimeout(self.ae.network_timeout)
        if self.ssl_context is not None:
            # Else who connects and says nothing keeps all others out.
            peer = self.ssl_context.wrap_socket(
                peer, server_side=True, do_handshake_on_connect=False
            )
        return peer, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing is printed: it is the peer's."""

    def shutdown(self) -> None:
        """Let nobody in any more."""
        TCPServer.shutdown(self)
        self.server_close()
