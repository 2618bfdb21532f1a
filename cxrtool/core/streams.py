"""stdout and stderr that outlast their readers: what nobody reads is dropped, work continues."""

import errno
import io
import os
import sys
from typing import Any, TextIO

_READER_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)
"""A pipe without a reader, a closed file, a terminal that was closed."""


class _Lasting(io.FileIO):
    """A file that swallows what is written once its reader is gone.

    Args:
        number: of the open file, which is not closed with this.
        forgiving: whether no other fault of writing is raised either, as a full disk's.
    """

    def __init__(self, number: int, *, forgiving: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self.forgiving = forgiving
        self.gone = False

    def write(self, data: Any, /) -> int:
        """Write, or drop, bytes; how many."""
        size = memoryview(data).nbytes
        if self.gone:
            return size
        try:
            return super().write(data)
        except OSError as error:
            if not self.forgiving and error.errno not in _READER_GONE:
                raise OSError(error.errno, error.strerror, "stdout") from None
            self.gone = True
            return size


def keep_streams() -> None:
    """Make stdout and stderr outlast their readers; for a process's start.

    What was closed is opened on the null device: else the next file that is opened would take its
    number, and what libraries write there would end in that file. What stderr cannot take is
    dropped whatever the reason, since a log's full disk must not end a training; results that
    stdout cannot take are an error, but for a reader that went away.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(opened, True)
    sys.stdout = _lasting(sys.stdout, 1, forgiving=False)
    sys.stderr = _lasting(sys.stderr, 2, forgiving=True)


def _lasting(stream: TextIO | None, number: int, *, forgiving: bool) -> TextIO:
    if stream is not None and not isinstance(stream, io.TextIOWrapper):
        return stream  # somebody's own
    if stream is not None and os.name == "nt" and stream.isatty():
        stream.reconfigure(errors="replace")  # its console is not a file of bytes
        return stream
    if stream is not None:
        number = stream.fileno()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(number, forgiving=forgiving)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="replace",  # a label's name may not be in a pipe's encoding
        line_buffering=number == 2 if stream is None else stream.line_buffering,
        write_through=stream is not None and stream.write_through,
    )


def is_read(stream: TextIO) -> bool:
    """Whether a stream's reader is there, as far as writing to it has shown."""
    raw = _raw(stream)
    return raw is None or not raw.gone


def _raw(stream: TextIO) -> _Lasting | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Lasting) else None


def flush_results() -> OSError | None:
    """Write what stdout still holds; why it could not be, after which it is dropped."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if (raw := _raw(sys.stdout)) is not None:
            raw.gone = True
        return error
    return None
