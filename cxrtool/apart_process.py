"""The process that `apart` starts: it forks for each image, and holds none itself."""

import gc
import io
import os
import select
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image

try:
    import resource
except ImportError:  # Windows: only the parent's patience is left
    resource = None  # type: ignore[assignment]

from cxrtool.apart import MEMORY, SECONDS, read_message, write_message
from cxrtool.images import FORMATS, ImageError, read_content, read_file

MOST_SAID = 200
"""Letters of what a library wrote to stderr."""


def main() -> None:
    """Decode what is asked for on stdin, until it is closed."""
    _warm_up()
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into an answer
    limited = False
    while True:
        try:
            question, content = read_message(asked)
        except EOFError:
            return
        if question["dicom"]:  # once, and not in each child
            import cxrtool.dicom.reading  # noqa: F401
        if question["fresh"] and hasattr(os, "fork"):
            _in_a_child(answers, question, content)
            del content
            continue
        if not limited:
            _follow_the_parent()
            _limit_memory()
            limited = True
        _limit_time()
        _answer(answers, question, content)


def _in_a_child(answers: IO[bytes], question: dict[str, Any], content: bytes) -> None:
    gc.freeze()  # the child then copies less memory
    child = os.fork()
    if child == 0:
        try:
            _follow_the_parent()
            _limit_memory()
            _limit_time()
            _answer(answers, question, content)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:  # half an answer may have been written: nobody can read on
        os._exit(128 - code if code < 0 else code)


def _warm_up() -> None:
    """Load what decoding loads, once and not in each child."""
    for kind in FORMATS:
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, kind)
        read_content("", file.getvalue(), look=True)


def _follow_the_parent() -> None:
    """End when nobody waits for the answer any more."""

    def follow() -> None:
        poll = select.poll()
        poll.register(0, 0)  # a hang-up is told without being asked for
        poll.poll()
        os._exit(1)

    if hasattr(select, "poll"):
        threading.Thread(target=follow, daemon=True).start()


def _limit_memory() -> None:
    """Memory, and what is written, as the system enforces it."""
    if resource is None:
        return
    _at_most(resource.RLIMIT_CORE, 0)
    _at_most(resource.RLIMIT_FSIZE, 2**20)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with suppress(OSError):  # Linux
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _at_most(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)


def _limit_time() -> None:
    """The processor's time for one image: at its end the system kills this process."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _at_most(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + SECONDS + 1)


def _at_most(kind: int, value: int) -> None:
    """Set a limit that can be raised again, up to the one that the system gave."""
    with suppress(ValueError, OSError):
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value, most))


def _answer(answers: IO[bytes], question: dict[str, Any], content: bytes) -> None:
    path, look = question["path"], question["look"]
    pixels = b""
    with _unnamed() as said:
        os.dup2(said.fileno(), 2)
        try:
            if question["inside"]:
                read = read_content(path, content, look=look)
            else:
                read = read_file(path, look=look)
            pixels = read.grey.tobytes()
            warning = "; ".join(filter(None, (read.warning, _said(said))))
            values = {"size": read.grey.size, "mode": read.mode, "warning": warning}
        except ImageError as error:
            values = {"error": str(error)}
        except MemoryError:
            values = {"error": f"{path}: decoding it took more than {MEMORY / 2**30:.0f} GiB"}
    write_message(answers, values, pixels)


def _unnamed() -> IO[bytes]:
    """A file that nobody else sees."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("said"), "w+b")
    return tempfile.TemporaryFile()


def _said(file: IO[bytes]) -> str:
    """What a library wrote to stderr while it decoded: libtiff does, of damage."""
    file.seek(0)
    lines = file.read(2**16).decode("utf-8", "replace").splitlines()
    if not lines:
        return ""
    first = "".join(letter for letter in lines[0] if letter.isprintable())[:MOST_SAID]
    more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"damaged: {first}{more} (libtiff)"


if __name__ == "__main__":
    main()
