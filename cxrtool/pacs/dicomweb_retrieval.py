"""One image of an archive as a file, byte for byte (WADO-RS; PS3.18, 10.4).

dicomweb-client would hold it in memory twice, and read it before anything has looked whether it is
safe to.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import requests

from cxrtool.core.files import names_file
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.dicomweb_access import DicomWebAccess, media_type
from cxrtool.pacs.dicomweb_search import WebImage

SERVICE = "WADO-RS"
DICOM, MULTIPART = "application/dicom", "multipart/related"
ANY_SYNTAX = f'{MULTIPART}; type="{DICOM}"; transfer-syntax=*'
"""In the syntax that it was stored in: nothing is decoded there, and nothing is lost."""
PLAIN_SYNTAX = f'{MULTIPART}; type="{DICOM}"'
"""In Explicit VR Little Endian, for servers that do not know the other."""
NOT_GIVEN_SO = frozenset({400, 406, 415})
PIECE = 2**18
MOST = 2**30
"""Bytes of an image's file; those of a chest X-ray have some 10 to 100 million."""
MOST_HEAD = 2**16
"""Bytes before a part, and of what it says of itself."""
BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,100})"|([^;\s]{1,100}))', re.IGNORECASE)


class RetrievalStoppedError(Exception):
    """Somebody asked to stop."""


def retrieve_image(
    access: DicomWebAccess, session: requests.Session, image: WebImage, file: Path, stop: Event
) -> None:
    """Write an image's file; a part of one is removed.

    Args:
        access: the archive.
        session: of the archive.
        image: which one.
        file: to write.
        stop: once it is set, what is under way ends.

    Raises:
        TransientError: it cannot be had just now.
        DestinationError: the archive does not have it, does not give it, or gives something else.
        RetrievalStoppedError: after `stop`.
        OSError: the file cannot be written.
    """
    below = f"studies/{image.study}/series/{image.series}/instances/{image.instance}"
    try:
        answer = access.get(session, below, (), ANY_SYNTAX, stream=True)
        if answer.status_code in NOT_GIVEN_SO:
            answer.close()
            answer = access.get(session, below, (), PLAIN_SYNTAX, stream=True)
        with answer:
            if answer.status_code in (requests.codes.not_found, requests.codes.gone):
                raise DestinationError("the archive does not have it (any more)")
            access.check(answer, SERVICE)
            with names_file(file), file.open("wb") as opened:
                for piece in _content(access, answer):
                    if stop.is_set():
                        raise RetrievalStoppedError
                    opened.write(piece)
                    if opened.tell() > MOST:
                        raise DestinationError(f"it has more than {MOST // 2**20:,} MiB")
    except BaseException:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        raise


def _content(access: DicomWebAccess, answer: requests.Response) -> Iterator[bytes]:
    """The file in an answer, piece by piece."""
    kind = media_type(answer)
    if kind == DICOM:
        yield from _pieces(access, answer)
        return
    found = BOUNDARY.search(answer.headers.get("Content-Type") or "")
    if kind != MULTIPART or found is None:
        raise DestinationError(f"the archive gives it as {kind or 'nothing'}, not as {DICOM}")
    boundary = (found[1] or found[2]).encode("latin-1")
    yield from _first_part(_pieces(access, answer), boundary)


def _pieces(access: DicomWebAccess, answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(PIECE)
    except requests.RequestException as error:
        raise access.failure(error) from None


def _first_part(pieces: Iterator[bytes], boundary: bytes) -> Iterator[bytes]:
    """The first part of a multipart message (RFC 2046, 5.1.1), as it comes.

    Raises:
        TransientError: it ends too early.
    """
    delimiter = b"\r\n--" + boundary
    held = b"\r\n"  # what precedes the first delimiter is left out, also where that is nothing
    head = -1
    for piece in pieces:
        held += piece
        if head < 0:
            start = held.find(delimiter)
            head = held.find(b"\r\n\r\n", start + len(delimiter)) if start >= 0 else -1
            if head < 0:
                if len(held) > MOST_HEAD + PIECE:
                    raise DestinationError("the archive's answer has no parts")
                continue
            # An empty part would end where its head does.
            held = held[head + 2 :] if held[head + 2 :].startswith(delimiter) else held[head + 4 :]
        end = held.find(delimiter)
        if end >= 0:
            yield held[:end]
            return
        safe = len(held) - len(delimiter) + 1
        if safe > 0:
            yield held[:safe]
            held = held[safe:]
    raise TransientError("the archive broke off in the middle of it")
