"""Results to a PACS by C-STORE: all files of a study over one association (PS3.4, annex B)."""

import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from cxrtool.core.errors import DataError, counted
from cxrtool.pacs.delivery import (
    Delivery,
    DestinationError,
    Outgoing,
    TransientError,
    delivery_of,
    name_of_class,
    not_taken,
    read_outgoing,
    status_for,
)
from cxrtool.pacs.statuses import SUCCESS, Outcome, Status
from cxrtool.pacs.trust import Trust, tls_reason

# Files go as they are, a piece at a time: they are neither decoded nor held in memory.
_config.STORE_SEND_CHUNKED_DATASET = True
# Its log quotes elements.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)

STORE, ECHO = 0x8001, 0x8030
"""The commands of answers (PS3.7, E.1)."""
VERIFICATION = UID("1.2.840.10008.1.1")
MOST_CONTEXTS = 128
"""Presentation contexts of an association: their numbers are odd and of one byte (PS3.8, 9.3.2)."""
TRANSIENT = 0x02
"""The result of a rejection that may be another one later (PS3.8, table 9-21)."""
REJECTED = {
    (0x01, 0x03): "does not know our AE title {ae}: it has to be entered there",
    (0x01, 0x07): "is not called {called}: that is another AE title",
    (0x03, 0x01): "has no room for another association just now",
    (0x03, 0x02): "has no room for another association just now",
}
"""By source and reason (PS3.8, table 9-21)."""


@dataclass(frozen=True, kw_only=True)
class CStoreDestination:
    """An application entity that stores instances."""

    called: str
    """Its AE title."""
    host: str
    port: int
    ae: str
    """Our own AE title."""
    trust: Trust | None
    """None: without TLS."""
    timeout: float
    """Seconds to wait for a connection, and for each answer."""

    @property
    def name(self) -> str:
        """As messages call it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.called}@{host}:{self.port}"

    def send(self, files: Sequence[Path]) -> Delivery:
        """Send all files of one study; what is proposed is just what they need.

        Raises:
            DataError: the files cannot be sent.
            TransientError: it cannot be reached, breaks off, does not answer in time, or is out of
                resources; some of the files may be stored.
            DestinationError: it rejects us for good.
        """
        outgoing = read_outgoing(files)
        with self._associated(_proposed(outgoing)) as line:
            said = [(one, self._send(line, one, at)) for at, one in enumerate(outgoing, start=1)]
        return delivery_of(self.name, said)

    def echo(self) -> None:
        """Check that it is there and takes associations of ours (C-ECHO).

        Raises: as `send`.
        """
        with self._associated([build_context(VERIFICATION, ImplicitVRLittleEndian)]) as line:
            if not line.contexts:
                raise DestinationError(f"{self.name} does not answer C-ECHO")
            code = line.status(line.association.send_c_echo(1), ECHO, 1)
        if code is None:
            raise TransientError(f"{self.name} {self._broken_off}")
        if code != SUCCESS:
            raise DestinationError(f"{self.name} answers C-ECHO with status {code:04X}")

    @property
    def _broken_off(self) -> str:
        return f"broke off, was silent for {self.timeout:g} s, or gave no answer that can be read"

    def _send(self, line: "_Line", one: Outgoing, number: int) -> Status:
        if (one.sop_class, one.syntax) not in line.contexts:
            if one.sop_class not in {known for known, _ in line.contexts}:
                return not_taken(one.sop_class)
            words = f"it takes no {name_of_class(one.sop_class)} as {one.syntax.name}"
            return Status(Outcome.REFUSED, words)
        try:
            answer = line.association.send_c_store(one.file, number)
        except RuntimeError:  # no association any more
            answer = Dataset()
        code = line.status(answer, STORE, number)
        if code is None:
            raise TransientError(f"{self.name} {self._broken_off}")
        return status_for(one.sop_class, code)

    @contextmanager
    def _associated(self, contexts: list[PresentationContext]) -> Iterator["_Line"]:
        """An association, which may have no accepted context."""
        tls = None if self.trust is None else (self.trust.context(), self.host)
        line = _Line(self.timeout)
        own = AE(self.ae)
        own.acse_timeout = own.dimse_timeout = own.network_timeout = self.timeout
        own.connection_timeout = self.timeout
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, line.connected),
            (evt.EVT_DIMSE_RECV, line.answered),
        ]
        try:
            made = own.associate(
                self.host,
                self.port,
                contexts,
                self.called,
                tls_args=tls,
                evt_handlers=handlers,
            )
        except OSError as error:  # its name has no address
            raise self._unreachable(error) from None
        line.association = made
        try:
            if not made.is_established and not made.rejected_contexts:
                raise self._why_not(made, connected=line.is_open)
            yield line
            if made.is_established:
                made.release()
        finally:
            if made.is_established:
                made.abort()
            line.close()

    def _why_not(self, association: Association, *, connected: bool) -> DestinationError:
        """Why there is no association."""
        if not connected:
            return self._unreachable()
        if not association.is_rejected:
            return TransientError(f"{self.name} broke the association off before it was agreed on")
        answer = association.acceptor.primitive
        result, source, reason = (
            getattr(answer, name, None) for name in ("result", "result_source", "diagnostic")
        )
        words = REJECTED.get((source or 0, reason or 0), "rejects the association")
        message = f"{self.name} {words.format(ae=self.ae, called=self.called)}"
        return TransientError(message) if result == TRANSIENT else DestinationError(message)

    def _unreachable(self, known: OSError | None = None) -> DestinationError:
        """Why there was no connection, which is tried once more: the library does not tell."""
        error = known or self._connection_error()
        if isinstance(error, ssl.SSLError):
            return DestinationError(f"{self.name}: {tls_reason(error)}")
        why = "no connection in time" if error is None else error.strerror or str(error)
        return TransientError(f"{self.name} cannot be reached ({why})")

    def _connection_error(self) -> OSError | None:
        try:
            with socket.create_connection((self.host, self.port), self.timeout) as plain:
                if self.trust is not None:
                    with self.trust.context().wrap_socket(plain, server_hostname=self.host):
                        pass
        except OSError as error:
            return error
        return None


class _Line:
    """An association, and what pynetdicom does not look at of what comes over it."""

    association: Association

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.is_open = False
        self._last: tuple[object, ...] = ()
        self._socket: socket.socket | None = None

    @property
    def contexts(self) -> dict[tuple[UID | None, UID], int | None]:
        """The numbers of accepted contexts, by class and syntax."""
        return {
            (one.abstract_syntax, one.transfer_syntax[0]): one.context_id
            for one in self.association.accepted_contexts
        }

    def connected(self, event: evt.Event) -> None:
        """Let nobody be waited for without end who sends, or takes, half of something."""
        self.is_open = True
        held = event.assoc.dul.socket
        if held is not None and held.socket is not None:
            self._socket = held.socket
            self._socket.settimeout(self.timeout)

    def close(self) -> None:
        """Leave nothing open: after nonsense, the library would wait for the peer to go."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def answered(self, event: evt.Event) -> None:
        """Keep what a message answers to."""
        read = event.message.command_set
        self._last = (
            event.message.context_id,
            read.get("CommandField"),
            read.get("MessageIDBeingRespondedTo"),
        )

    def status(self, answer: Dataset, command: int, number: int) -> int | None:
        """An answer's status; None where there is none, or it is to something else."""
        code = answer.get("Status")
        context, *said = self._last or (None,)
        fits = said == [command, number] and context in self.contexts.values()
        return int(code) if code is not None and fits else None


def _proposed(outgoing: Sequence[Outgoing]) -> list[PresentationContext]:
    """A context for each class in each syntax: of several syntaxes in one, a peer takes one."""
    wanted = dict.fromkeys((one.sop_class, one.syntax) for one in outgoing)
    if len(wanted) > MOST_CONTEXTS:
        raise DataError(
            f"the files are of {counted(len(wanted), 'kind')} (SOP class and transfer syntax): an "
            f"association has room for {MOST_CONTEXTS}"
        )
    return [build_context(sop_class, syntax) for sop_class, syntax in wanted]
