"""Archives as C-STORE sees them: one that stores, and one that answers what a test wants."""

import contextlib
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_RQ

STORE_RSP, ECHO_RSP = 0x8001, 0x8030


@dataclass
class Archive:
    """What came to an archive."""

    node: str = ""
    stored: list[bytes] = field(default_factory=list)
    """Data sets, as they were sent."""
    calling: list[str] = field(default_factory=list)
    """The AE title of each association."""
    proposed: list[set[tuple[str, str]]] = field(default_factory=list)
    """Classes and syntaxes of each association."""


@contextmanager
def archive(status=0, contexts=None, tls=None, on_store=None, **settings):
    """A listener that stores, or answers with a status (or those of a list in turn).

    `contexts` are the classes that it takes; `settings` are pynetdicom's of its AE.
    """
    there = Archive()
    statuses = iter(status) if isinstance(status, list) else None
    own = AE("ARCHIVE")
    for name, value in settings.items():
        setattr(own, name, value)
    known = [one.abstract_syntax for one in AllStoragePresentationContexts]
    for sop_class in known if contexts is None else contexts:
        own.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    own.add_supported_context("1.2.840.10008.1.1")

    def agreed(event):
        there.calling.append(event.assoc.requestor.primitive.calling_ae_title)
        there.proposed.append(
            {
                (str(one.abstract_syntax), str(syntax))
                for one in event.assoc.requestor.requested_contexts
                for syntax in one.transfer_syntax
            }
        )

    def store(event):
        if on_store is not None:
            on_store(event)
        found = next(statuses) if statuses else status
        if found == 0 or found & 0xF000 == 0xB000:
            there.stored.append(event.request.DataSet.getvalue())
        return found

    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_ACCEPTED, agreed)]
    server = own.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    there.node = f"ARCHIVE@127.0.0.1:{server.server_address[1]}"
    try:
        yield there
    finally:
        server.shutdown()


def item(kind, content):
    return struct.pack(">BBH", kind, 0, len(content)) + content


def pdu(kind, content):
    return struct.pack(">BBL", kind, 0, len(content)) + content


def accepting(asked):
    """The answer that accepts all that an A-ASSOCIATE-RQ asks for (PS3.8, 9.3.3)."""
    request = A_ASSOCIATE_RQ()
    request.decode(asked)
    contexts = b"".join(
        item(
            0x21,
            struct.pack("BBBB", one.context_id, 0, 0, 0)
            + item(0x40, str(one.transfer_syntax[0]).encode()),
        )
        for one in request.presentation_context
    )
    application = item(0x10, b"1.2.840.10008.3.1.1.1")
    user = item(0x50, item(0x51, struct.pack(">L", 16382)) + item(0x52, b"1.2.3"))
    return pdu(0x02, asked[6:74] + application + contexts + user)


def rejecting(result, source, reason):
    """The answer that rejects an association (PS3.8, 9.3.4)."""
    return pdu(0x03, struct.pack("BBBB", 0, result, source, reason))


ABORT = pdu(0x07, bytes(4))


def response(command=STORE_RSP, message=1, status=0, context=1):
    """A response's P-DATA (PS3.8, 9.3.5; PS3.7, 9.3.1.2)."""
    made = Dataset()
    made.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    made.CommandField = command
    made.MessageIDBeingRespondedTo = message
    made.CommandDataSetType = 0x0101
    made.AffectedSOPInstanceUID = "1.2.3"
    made.Status = status
    made.CommandGroupLength = len(encode(made, True, True))
    content = struct.pack("BB", context, 0x03) + encode(made, True, True)
    return pdu(0x04, struct.pack(">L", len(content)) + content)


def read_pdu(peer):
    head = peer.recv(6, socket.MSG_WAITALL)
    if len(head) < 6:
        return b""
    return head + peer.recv(struct.unpack(">L", head[2:])[0], socket.MSG_WAITALL)


def ends_message(read, fragment=0x02):
    """Whether a PDU has the last fragment of a data set, or of a command (PS3.8, annex E)."""
    at = 6
    while read[:1] == b"\x04" and at + 6 <= len(read):
        size = struct.unpack(">L", read[at : at + 4])[0]
        if read[at + 5] == fragment:
            return True
        at += 4 + size
    return False


@contextmanager
def scripted_peer(opening=accepting, answer=None, last=0x02):
    """A peer of one association that answers byte by byte; yields how it is named.

    Args:
        opening: what it sends to the association's request: bytes, or made of the request; None:
            it closes the connection.
        answer: what it sends after the first data set; None: it closes the connection.
        last: the kind of fragment that it answers after: 3 for a command without a data set.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener:
            peer, _ = listener.accept()
        with peer:
            peer.settimeout(10)
            asked = read_pdu(peer)
            if opening is None:
                return
            peer.sendall(opening(asked) if callable(opening) else opening)
            while (read := read_pdu(peer)) and not ends_message(read, last):
                pass
            if read and answer is not None:
                peer.sendall(answer)
                with contextlib.suppress(OSError):  # until it goes
                    read_pdu(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"ARCHIVE@127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(15)
