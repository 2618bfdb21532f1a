"""C-STORE and C-ECHO (PS3.4, annexes B and A): what comes is kept in a spool, and then answered."""

import errno
import io
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError
from cxrtool.images.dicom import DicomError
from cxrtool.pacs.identity import SHORT, identify
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.peer_server import Dropped, PeerHandler, PeerServer
from cxrtool.pacs.spool import OutOfRoomError, Spool, Stored

# Its log quotes what is sent.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
_config.LOG_HANDLER_LEVEL = "none"

SUCCESS, NO_ROOM, MISMATCH, NOT_UNDERSTOOD, OUR_FAULT = 0x0000, 0xA700, 0xA900, 0xC000, 0xC211
"""PS3.4, table B.2-1; the last one is pynetdicom's."""
PDU = 2**18
"""Bytes of a message's part that peers are asked not to exceed."""
GRACE = 5.0
"""Seconds that associations have to end in."""
SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR, little endian
    "1.2.840.10008.1.2",  # implicit VR, little endian
    "1.2.840.10008.1.2.2",  # explicit VR, big endian
    "1.2.840.10008.1.2.4.70",  # JPEG, lossless
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",  # HTJ2K
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG
    "1.2.840.10008.1.2.4.51",
)
"""What an image may be sent in. Not deflated: that is inflated whole before it can be read."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a receiver is reached, and by whom."""

    bind: str = "127.0.0.1"
    port: int = 11112
    title: str = "CXRTOOL"
    """Its AE title; who calls another one is turned away."""
    allowed: tuple[str, ...] = ()
    """The AE titles that may call; none: all."""
    most_associations: int = 100
    most_bytes: int = 2**28
    """Of an object."""
    timeout: float = 60
    """Seconds that a peer may be silent."""
    tls: ssl.SSLContext | None = None


class Receiver:
    """Keeps what peers send in a spool."""

    def __init__(
        self, door: Door, spool: Spool, counts: ListenCounts, reporter: Reporter = SILENT
    ) -> None:
        self.door, self.spool, self.counts, self.reporter = door, spool, counts, reporter
        self.port = 0
        """The port that it has, once it is open."""

    @contextmanager
    def open(self) -> Iterator["Receiver"]:
        """Let peers in while the block runs.

        Raises:
            DataError: the address cannot be had.
        """
        server = self._server()
        self.port = int(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=[0.2], daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            until = time.monotonic() + GRACE
            while (at_work := _established(server)) and time.monotonic() < until:
                time.sleep(0.05)
            for one in at_work:
                one.abort()

    def _server(self) -> PeerServer:
        door = self.door
        ae = AE(door.title)
        ae.maximum_pdu_size = PDU
        ae.maximum_associations = door.most_associations
        ae.network_timeout = ae.acse_timeout = ae.dimse_timeout = door.timeout
        ae.require_called_aet = True
        ae.require_calling_aet = list(door.allowed)
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(cast(UID, context.abstract_syntax), list(SYNTAXES))
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_PDU_RECV, self._limit),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ABORTED, lambda _: self.counts.association("aborted")),
        ]
        try:
            return PeerServer(
                ae,
                (door.bind, door.port),
                door.title,
                ae.supported_contexts,
                door.tls,
                evt_handlers=handlers,
                request_handler=PeerHandler,
            )
        except (OSError, ValueError, OverflowError) as error:
            raise DataError(_unbound(error, door)) from None

    def _store(self, event: Event) -> Dataset | int:
        """Answer a C-STORE, when the object is on the disk."""
        try:
            state, status, comment = self._stored(event)
        except Exception as error:  # pynetdicom would say so in its log alone
            self.reporter.warn(f"an object could not be kept ({type(error).__name__})")
            state, status, comment = "failed", OUR_FAULT, "could not be kept"
        self.counts.instance(state)
        if status == SUCCESS:
            return SUCCESS
        answer = Dataset()
        answer.Status, answer.ErrorComment = status, comment
        return answer

    def _stored(self, event: Event) -> tuple[str, int, str]:
        """What became of an object, the status of the answer, and a comment for the peer."""
        request = cast(C_STORE, event.request)
        if isinstance(request.DataSet, Dropped):
            most = self.door.most_bytes // 2**20
            self.reporter.warn(f"objects over {most} MB were refused (--max-mb)")
            return "too large", NO_ROOM, f"larger than {most} MB"
        content = event.encoded_dataset()
        try:
            identity = identify(content)
        except DicomError as error:
            self.reporter.warn(f"an object was refused: {error}")
            return "unreadable", NOT_UNDERSTOOD, str(error)[:64]
        announced = (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
        if announced != (identity.class_uid, identity.instance_uid):
            return "mismatch", MISMATCH, "not the instance that was announced"
        if identity.is_own or not identity.is_image:
            return ("own result" if identity.is_own else "no image"), SUCCESS, ""
        try:
            stored = self.spool.store(identity, content)
        except OutOfRoomError as error:
            self.reporter.warn(f"{error}: objects are refused until there is room")
            return "no room", NO_ROOM, str(error)[:64]
        if stored is Stored.OTHER:
            self.reporter.warn(
                f"study {identity.study[:SHORT]}: an instance came again with other content; the "
                "first one is kept"
            )
        return stored.value, SUCCESS, ""

    def _limit(self, event: Event) -> None:
        """Let go of an object that is too large, while it comes."""
        message = event.assoc.dimse.message
        kept = getattr(message, "data_set", None)
        if isinstance(kept, io.BytesIO) and kept.tell() > self.door.most_bytes:
            message.data_set = Dropped()  # type: ignore[union-attr]

    def _accepted(self, event: Event) -> None:
        if event.assoc.accepted_contexts:
            self.counts.association("accepted")
            return
        self.counts.association("no context")
        self.reporter.warn(
            f"{_peer(event.assoc)} proposed nothing that is taken here: images in the standard's "
            "storage classes and transfer syntaxes, and C-ECHO"
        )

    def _rejected(self, event: Event) -> None:
        """Say why an association was turned away."""
        self.counts.association("rejected")
        asked = event.assoc.requestor.primitive
        called = asked.called_ae_title if asked else ""
        calling = event.assoc.requestor.ae_title
        if called != self.door.title:
            why = f"it called {called!r}, and this is {self.door.title!r} (--ae)"
        elif self.door.allowed and calling not in self.door.allowed:
            why = "its AE title is not among those of --allow-ae"
        else:
            why = f"there are {self.door.most_associations} already (--max-associations)"
        self.reporter.warn(f"{_peer(event.assoc)} was turned away: {why}")


def _established(server: PeerServer) -> list[Association]:
    return [one for one in server.active_associations if one.is_established]


def _peer(association: Association) -> str:
    one = association.requestor
    return f"{one.ae_title!r} at {one.address}"


def _unbound(error: Exception, door: Door) -> str:
    where = f"--bind {door.bind}, --port {door.port}"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{where}: in use, perhaps by another `cxrtool listen`; name another --port"
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: not an address of this machine; 0.0.0.0 is all that it has"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{where}: {reason}"
