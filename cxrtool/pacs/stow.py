"""Results to an archive by STOW-RS: all files of a study in one request (PS3.18, 10.5).

dicomweb-client would decode and write every file anew, follow a redirection with another method,
and take an answer whose type has a parameter for an empty one, which says that all went well.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from pydicom import Dataset

from cxrtool.core.errors import DataError
from cxrtool.pacs.delivery import (
    Delivery,
    DestinationError,
    Outgoing,
    TransientError,
    delivery_of,
    read_outgoing,
    status_for,
)
from cxrtool.pacs.dicomweb_access import JSON, DicomWebAccess, media_type
from cxrtool.pacs.statuses import SUCCESS, Outcome, Status

PIECE = 2**20
"""Bytes of a file that are in memory at a time."""
ALL, SOME, NONE = 200, 202, 409
"""Answers that say how many instances are stored (PS3.18, table 10.5.3-1)."""
TOO_LARGE = 413
PAGES = frozenset({"text/html", "application/xhtml+xml"})
"""What people are shown, such as a proxy's page to log in."""


@dataclass(frozen=True, kw_only=True)
class StowDestination:
    """A DICOMweb server that stores instances."""

    access: DicomWebAccess

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.access.name

    def send(self, files: Sequence[Path]) -> Delivery:
        """Send all files of one study.

        Raises:
            DataError: the files cannot be sent.
            TransientError: it cannot be reached, breaks off, does not answer in time, is busy or
                out of resources; some of the files may be stored.
            DestinationError: it does not let us in, or is not STOW-RS.
        """
        outgoing = read_outgoing(files)
        with self.access.session() as session:
            answer = self._post(session, outgoing)
            if answer.status_code == TOO_LARGE:
                words = f"a request of this size is not taken ({answer.reason})"
                return delivery_of(
                    self.name, [(one, Status(Outcome.REFUSED, words)) for one in outgoing]
                )
            if answer.status_code != NONE:
                self.access.check(answer, "STOW-RS")
            if media_type(answer) in PAGES:
                raise DestinationError(
                    f"{self.name} answers with a page for people: it is not DICOMweb, or somebody "
                    "has to log in there"
                )
            said = _read(answer)
            return delivery_of(
                self.name, [(one, self._status(session, one, answer, said)) for one in outgoing]
            )

    def echo(self) -> None:
        """Check that it is there, is DICOMweb and lets us in: it is asked for one study (QIDO-RS).

        Raises: as `send`.
        """
        with self.access.session() as session:
            answer = self.access.get(session, "studies", [("limit", "1")])
            self.access.check(answer, "QIDO-RS")
            if answer.content and media_type(answer) not in JSON:
                raise DestinationError(f"{self.name} answers, but not as DICOMweb does")

    def _post(self, session: requests.Session, outgoing: Sequence[Outgoing]) -> requests.Response:
        body = _Body(outgoing)
        try:
            return session.post(
                f"{self.access.url}/studies",
                data=body,
                headers={"Content-Type": body.content_type, "Accept": "application/dicom+json"},
                timeout=self.access.timeout,
                # It would come to a GET, whose answer says nothing of what is stored.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self.access.failure(error) from None
        except OSError as error:
            raise DataError(f"{error.filename or self.name}: {error.strerror}") from None

    def _status(
        self,
        session: requests.Session,
        one: Outgoing,
        answer: requests.Response,
        said: dict[str, int],
    ) -> Status:
        """What became of a file: as the answer says, else as the server knows its UID or not."""
        code = said.get(str(one.sop_instance))
        if code is None and answer.status_code == ALL and not said:
            code = SUCCESS  # in words that are not read: the number says that all are stored
        status = None if code is None else status_for(one.sop_class, code)
        if status is not None and status.outcome is not Outcome.REFUSED:
            return status
        if self._has(session, one):
            return Status(Outcome.ACCEPTED, "it is there")
        if status is not None:
            return status
        if answer.status_code == NONE:
            return Status(Outcome.REFUSED, f"it was not stored, without a reason ({NONE})")
        raise TransientError(f"{self.name} does not say what became of a file")

    def _has(self, session: requests.Session, one: Outgoing) -> bool:
        """Whether the server knows an instance of this UID."""
        try:
            query = [("SOPInstanceUID", str(one.sop_instance))]
            answer = self.access.get(session, f"studies/{one.study}/instances", query)
            found = answer.json() if answer.status_code == ALL else []
        except (DestinationError, requests.JSONDecodeError):
            return False
        return any(
            one.sop_instance in instance.get("00080018", {}).get("Value", []) for instance in found
        )


def _read(answer: requests.Response) -> dict[str, int]:
    """What is said of each instance by its UID: zero, or a warning or failure reason.

    That is the Store Instances Response Module (PS3.18, I.2), where it is in JSON.
    """
    if media_type(answer) not in JSON or not answer.content:
        return {}
    try:
        found = answer.json()
        return dict(_codes(Dataset.from_json(found[0] if isinstance(found, list) else found)))
    except Exception:  # pydicom's own are of many kinds
        return {}


def _codes(module: Dataset) -> Iterator[tuple[str, int]]:
    for item in module.get("ReferencedSOPSequence") or []:
        yield str(item.ReferencedSOPInstanceUID), int(item.get("WarningReason") or SUCCESS)
    for item in module.get("FailedSOPSequence") or []:
        yield str(item.ReferencedSOPInstanceUID), int(item.FailureReason)


class _Body:
    """A request's body, a piece at a time: a part for each file (PS3.18, 8.6.1.2)."""

    def __init__(self, outgoing: Sequence[Outgoing]) -> None:
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"--{boundary}--\r\n".encode()
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self._parts: list[bytes | Path] = [
            part for one in outgoing for part in (head, one.file, b"\r\n")
        ]
        self._parts.append(tail)
        sizes = (
            part.stat().st_size if isinstance(part, Path) else len(part) for part in self._parts
        )
        self._size = sum(sizes)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            with part.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
