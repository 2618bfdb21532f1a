"""The process that `apart` starts; for uploads it forks per image and never holds one itself."""

import gc
import io
import os
import signal
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from PIL import Image

from cxrtool.core.children import follow_the_parent
from cxrtool.images.apart import MEMORY, SECONDS, read_exactly, read_values, write_message
from cxrtool.images.errors import ImageError
from cxrtool.images.film import film_content, packed
from cxrtool.images.reading import read_content, read_file

try:
    import resource
except ImportError:  # Windows: only the parent's patience is left
    resource = None  # type: ignore[assignment]

MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
}
"""Modes to warm up per format: some make Pillow load more than others."""
DICOM_DECODERS = ("jpeg_ls", "openjpeg", "libjpeg", "rle")
"""Modules that pydicom decodes with, where installed."""
MOST_SAID = 200
"""Characters kept of what a library wrote to stderr."""


def main() -> None:
    """Answer questions on stdin until it is closed."""
    _warm_up()
    asked: IO[bytes] = os.fdopen(0, "rb", 0)  # a buffer would hold an image
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints must not end up in an answer
    warnings.simplefilter("ignore")  # only what libraries write counts as damage
    limited = False
    while True:
        try:
            question, size = read_values(asked)
        except EOFError:
            return
        if question["dicom"]:
            _warm_up_dicom()
        if question["fresh"] and hasattr(os, "fork"):
            _in_a_child(answers, question, asked, size)
            continue
        if not limited:
            follow_the_parent()
            _limit_memory()
            limited = True
        _limit_time()
        _answer(answers, question, read_exactly(asked, size))


def _in_a_child(answers: IO[bytes], question: dict[str, Any], asked: IO[bytes], size: int) -> None:
    """Decode in a child that reads the image itself, so that this process never holds one."""
    gc.freeze()  # the child then copies less memory
    child = os.fork()
    if child == 0:
        try:
            content = read_exactly(asked, size)
            follow_the_parent()
            _limit_memory()
            _limit_time()
            _answer(answers, question, content, locked=True)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:  # half an answer may have been written
        os._exit(128 - code if code < 0 else code)


def _warm_up() -> None:
    """Load what decoding needs, once: children cannot open files."""
    for kind, modes in MODES.items():
        for mode in modes:
            file = io.BytesIO()
            # Such dark float pixels take a path of their own in `depth`.
            Image.new(mode, (8, 8), 0.1 if mode == "F" else 1).save(file, kind)
            read_content("", file.getvalue(), look=True)


@cache
def _warm_up_dicom() -> None:
    """Load pydicom and its decoders."""
    import cxrtool.images.dicom.reading  # noqa: F401

    Image.init()  # JPEG 2000 among others
    for name in DICOM_DECODERS:
        with suppress(ImportError):
            import_module(name)


def _limit_memory() -> None:
    """Limit memory and what is written to files."""
    if resource is None:
        return
    _at_most(resource.RLIMIT_CORE, 0)
    _at_most(resource.RLIMIT_FSIZE, 2**20)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with suppress(OSError):  # Linux
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _at_most(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)


def _limit_time() -> None:
    """Limit the CPU time of one image; the system then kills this process."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _at_most(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + SECONDS + 1)


def _lock() -> None:
    """Open nothing from now on: a hijacked decoder has neither files nor network."""
    if resource is not None:
        with suppress(ValueError, OSError):
            # Not 0: poll() needs a limit of at least the number of files it waits for.
            resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))


def _at_most(kind: int, value: int) -> None:
    """Set a soft limit."""
    with suppress(ValueError, OSError):
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value, most))


def _answer(
    answers: IO[bytes], question: dict[str, Any], content: bytes, *, locked: bool = False
) -> None:
    pixels: tuple[bytes | memoryview, ...] = ()
    with _unnamed() as said:
        os.dup2(said.fileno(), 2)
        if locked:
            _lock()
        try:
            values, pixels = _decoded(question, content)
            values["warning"] = "; ".join(filter(None, (values["warning"], _said(said))))
        except ImageError as error:
            values = {"error": str(error)}
        except MemoryError:
            most = f"{MEMORY / 2**30:.0f} GiB"
            values = {"error": f"{question['path']}: decoding took more than {most}"}
    write_message(answers, values, *pixels)


def _decoded(
    question: dict[str, Any], content: bytes
) -> tuple[dict[str, Any], tuple[bytes | memoryview, ...]]:
    """Facts about an image, and its pixels in parts."""
    path = question["path"]
    if question["film"]:
        return packed(film_content(path, content))
    if question["inside"]:
        read = read_content(path, content, look=question["look"])
    else:
        read = read_file(path, look=question["look"])
    values = {"size": read.grey.size, "mode": read.mode, "warning": read.warning}
    return values, (read.grey.tobytes(),)


def _unnamed() -> IO[bytes]:
    """A file without a name."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("said"), "w+b")
    return tempfile.TemporaryFile()


def _said(file: IO[bytes]) -> str:
    """What a library wrote to stderr while decoding: libtiff reports damage there."""
    file.seek(0)
    lines = file.read(2**16).decode("utf-8", "replace").splitlines()
    if not lines:
        return ""
    first = "".join(letter for letter in lines[0] if letter.isprintable())[:MOST_SAID]
    more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"damaged: {first}{more} (libtiff)"


if __name__ == "__main__":
    main()
