"""The images of a request: room before a byte is read, a turn before any work, nothing kept after.

What is being sent and what waits is counted. A sender who never finishes and a reader who leaves
end their request, and with it whatever was sent.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import Event, fail_after
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from cxrtool.core.errors import CxrToolError, UsageError, counted
from cxrtool.gui.gate import TooLargeError, too_large
from cxrtool.images.files import is_image

MOST_FILES = 200
"""Files of one request."""
MOST_IN_FOLDER = 100_000
FIELDS = ("model", "label", "maps", "film", "thumb")
READ_SECONDS = 120
"""So long a request's body may take to come."""
ROOM_SECONDS = 60
"""So long a request waits for room before its body is read."""
AT_ONCE = 4
"""Requests that are at work at once; others wait."""
MOST_WAITING = 400
"""Requests that may wait for room or for their turn."""
FULL = "too many images are waiting: try again in a minute"


class RefusedError(Exception):
    """A request that is not answered as it is: an HTTP status, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An image that was sent, or is named in a folder."""

    name: str
    """As its sender calls it."""
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a request asks."""

    images: tuple[Sent, ...]
    model: str = ""
    label: str = ""
    maps: bool = False
    film: bool = False
    thumb: bool = False


class FolderQuestion(BaseModel):
    """Images in a folder of the server, where `--root` allows it."""

    model_config = ConfigDict(extra="forbid")
    folder: str
    model: str = ""
    maps: bool = False


class Line:
    """Who is at work, and who waits, in the order of their coming."""

    def __init__(self, note: Callable[[int], None], at_once: int = AT_ONCE) -> None:
        self._at_once, self._note = at_once, note
        self._there: list[object] = []
        self._changed = Event()

    @contextmanager
    def place(self) -> Iterator[Callable[[], AsyncIterator[int]]]:
        """A place in the line while the block runs.

        Gives a function: how many come before, told again when that changes, until it is one's
        turn.

        Raises:
            RefusedError: too many wait.
        """
        if len(self._there) >= MOST_WAITING:
            raise RefusedError(503, FULL)
        mine = object()
        self._there.append(mine)
        self._tell()
        try:
            yield lambda: self._ahead(mine)
        finally:
            self._there.remove(mine)
            self._tell()

    def _tell(self) -> None:
        self._note(len(self._there))
        self._changed.set()
        self._changed = Event()

    async def _ahead(self, mine: object) -> AsyncIterator[int]:
        before = -1
        while True:
            ahead = max(self._there.index(mine) - self._at_once + 1, 0)
            if ahead != before:
                yield ahead
            if ahead == 0:
                return
            before = ahead
            await self._changed.wait()


class Room:
    """Bytes of images that may be there at once, sent or being sent."""

    def __init__(self, most: int) -> None:
        self._left, self._most, self._waiting = most, most, 0
        self._freed = Event()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Room for so many bytes while the block runs; waits for it a while.

        Raises:
            RefusedError: none became free.
        """
        await self._take(min(size, self._most))
        try:
            yield
        finally:
            self._left += min(size, self._most)
            self._freed.set()
            self._freed = Event()

    async def _take(self, size: int) -> None:
        if self._waiting >= MOST_WAITING:
            raise RefusedError(503, FULL)
        self._waiting += 1
        try:
            with fail_after(ROOM_SECONDS):
                while size > self._left:
                    await self._freed.wait()
        except TimeoutError:
            raise RefusedError(503, FULL) from None
        finally:
            self._waiting -= 1
        self._left -= size


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Takes the images of requests in."""

    room: Room
    most_bytes: int
    """Of one request."""
    root: Path | None = None
    """The folder whose images may be named; None: files are only sent."""
    most_files: int = MOST_FILES

    @asynccontextmanager
    async def question(self, request: Request) -> AsyncIterator[Question]:
        """What a request asks; its files are there while the block runs.

        Raises:
            RefusedError: it cannot be answered.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            yield await self._of_folder(request)
            return
        said = request.headers.get("content-length", "")
        size = int(said) if said.isdecimal() else self.most_bytes
        with ExitStack() as files:
            async with self.room.of(size):
                yield await self._of_form(request, files)

    async def _of_form(self, request: Request, files: ExitStack) -> Question:
        with self._refusing():
            # Not `async with`: what came is closed also when the reader is gone.
            with fail_after(READ_SECONDS):
                form = await request.form(max_files=self.most_files, max_fields=len(FIELDS))
            uploads = [one for one in form.getlist("files") if isinstance(one, UploadFile)]
            for _, one in form.multi_items():
                if isinstance(one, UploadFile):
                    files.callback(one.file.close)
            others = sorted(set(form) - {"files", *FIELDS})
            if others:
                raise RefusedError(422, f"{others[0][:50]} is not a field of this request")
            if not uploads:
                raise RefusedError(422, "no file was sent: send images as `files`")
            if sum(one.size or 0 for one in uploads) > self.most_bytes:
                raise TooLargeError
            words = {name: str(form.get(name, "")) for name in FIELDS}
        return Question(
            images=tuple(_sent(one) for one in uploads),
            model=words["model"],
            label=words["label"],
            maps=_yes("maps", words["maps"]),
            film=_yes("film", words["film"]),
            thumb=_yes("thumb", words["thumb"]),
        )

    async def _of_folder(self, request: Request) -> Question:
        with self._refusing(), fail_after(READ_SECONDS):
            body = await request.body()
        try:
            asked = FolderQuestion.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise RefusedError(422, f"{where}: {first['msg']}") from None
        if self.root is None:
            raise RefusedError(
                403, "folders are not read: start the server with --root DIR to allow those in DIR"
            )
        return Question(
            images=images_in(self.root, asked.folder), model=asked.model, maps=asked.maps
        )

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """What reading a body may raise, as the answer to it."""
        try:
            yield
        except TooLargeError:
            raise RefusedError(413, too_large(self.most_bytes)) from None
        except TimeoutError:  # before OSError, of which it is one
            raise RefusedError(
                408, f"the images did not arrive within {READ_SECONDS} s: send fewer at once"
            ) from None
        except OSError as error:
            raise RefusedError(
                503, f"the images cannot be stored ({error.strerror or error}): try again later"
            ) from None
        except (ClientDisconnect, HTTPException, MultiPartException):
            raise RefusedError(
                400,
                f"this is not a form with 1 to {self.most_files} images as `files`, or it is "
                "incomplete",
            ) from None


def images_in(root: Path, folder: str) -> tuple[Sent, ...]:
    """The images in a folder and the folders in it, in the order of their names.

    Raises:
        RefusedError: it is not inside the root, no folder, or without images.
    """
    try:
        inside = (root / folder).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise RefusedError(404, "no such folder inside --root") from None
    whole = root.resolve()
    if not inside.is_relative_to(whole) or not inside.is_dir():
        raise RefusedError(404, "no such folder inside --root")
    found = []
    for path in sorted(inside.rglob("*")):
        # A link may lead out of the root.
        if path.resolve().is_relative_to(whole) and is_image(path):
            found.append(Sent(name=str(path.relative_to(inside)), read=path.read_bytes))
    if not found:
        raise RefusedError(404, "no image in this folder: JPEG, PNG, TIFF or DICOM files")
    if len(found) > MOST_IN_FOLDER:
        raise RefusedError(
            413, f"{counted(len(found), 'image')} at once: use `cxrtool predict` for so many"
        )
    return tuple(found)


def refused_by(error: CxrToolError) -> RefusedError:
    """An error of the user's as an answer."""
    return RefusedError(422 if isinstance(error, UsageError) else 500, str(error))


def _sent(upload: UploadFile) -> Sent:
    def read() -> bytes:
        upload.file.seek(0)
        return upload.file.read()

    return Sent(name=upload.filename or "", read=read)


def _yes(name: str, word: str) -> bool:
    if word.lower() in ("", "false", "0"):
        return False
    if word.lower() in ("true", "1"):
        return True
    raise RefusedError(422, f"{name} is {word[:50]!r}: send true or false")
