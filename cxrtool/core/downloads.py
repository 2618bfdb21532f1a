"""A file downloaded once: what a cut left of it is resumed, and it has its name only when whole."""

import http.client
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from cxrtool.core.errors import NotWrittenError, WeightsError
from cxrtool.core.files import names_file

Progress = Callable[[int, int], AbstractContextManager[Callable[[int], None]]]
CHUNK = 2**20
TIMEOUT = 30
"""Seconds without a byte after which a server counts as gone."""
AGENT = "cxrtool (https://pypi.org/project/cxrtool)"


def download(url: str, path: Path, begun: Progress) -> None:
    """Download a file to `path`.

    What is there of it stands in `path` with `.part`, and beside it which version of the file that
    is part of: the server sends the rest, or, of another version, all of it.

    Args:
        url: of the file.
        path: that it will have.
        begun: given the bytes that were there and those that there will be (0: not known), shows
            how far it is, and is told of each piece.

    Raises:
        WeightsError: the server cannot be reached, does not have the file, or stopped sending.
    """
    part, mark = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.version")
    path.parent.mkdir(parents=True, exist_ok=True)
    version = mark.read_text().strip() if mark.is_file() and part.is_file() else ""
    there = part.stat().st_size if version else 0
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": version}
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as answer:
            if answer.status != 206:
                there = 0
            new = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            with names_file(mark):
                mark.write_text("" if new.startswith("W/") else new)  # a weak one proves nothing
            length = int(answer.headers.get("Content-Length") or 0)
            total = there + length if length else 0
            with begun(there, total) as advance:
                _receive(answer, part, there, advance)
    except HTTPError as error:
        if error.code == 416:  # all that there is was there, of a version that is no more
            part.unlink(missing_ok=True)
        raise WeightsError(f"{url}: the server answers {error.code} ({error.reason})") from None
    except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise WeightsError(f"{url} cannot be downloaded ({_reason(error)})") from None
    found = part.stat().st_size
    if total and found != total:
        raise WeightsError(f"{url}: the server sent {found:,} of {total:,} bytes and stopped")
    part.replace(path)
    mark.unlink(missing_ok=True)


def _receive(
    answer: http.client.HTTPResponse, part: Path, there: int, advance: Callable[[int], None]
) -> None:
    with names_file(part), part.open("ab" if there else "wb") as file:
        while True:
            try:
                piece = answer.read(CHUNK)
            except http.client.IncompleteRead as error:
                file.write(error.partial)
                raise
            if not piece:
                return
            try:
                file.write(piece)
            except OSError as error:  # the disk's, and no server's
                raise NotWrittenError(f"{part}: {error.strerror}: make room for it") from None
            advance(len(piece))


def _reason(error: Exception) -> str:
    reason: object = error.reason if isinstance(error, URLError) else error
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was cut"
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return str(text).splitlines()[0]
