"""Decoding in processes of its own, each image with a limit of time and memory.

A decoder may hang, take all memory, be killed by a damaged file, or leave in a picture what was in
memory before. So what is not known to be harmless is decoded by another process, with limits that
the system enforces (`apart_process`), and what somebody sent by a child of it that lives for one
image. What goes wrong there is one image's error.
"""

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from cxrtool.core.errors import DataError

SECONDS = 30
"""Of the processor's time that decoding one image may take."""
PATIENCE = 120
"""Seconds that are waited for it on a busy machine."""
MEMORY = 2**30
"""Bytes that it may take beside what its process had at first."""
MODULE = "cxrtool.images.apart_process"
HEAD = struct.Struct(">II")
"""Bytes of a message's JSON, and of what comes behind."""
TOO_LONG = f"decoding it took longer than the {SECONDS} s that one image may take"


class _Process:
    """A process that decodes, one image after another."""

    def __init__(self) -> None:
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's alone
            env={
                **os.environ,
                "PYTHONPATH": path,
                "OPENBLAS_NUM_THREADS": "1",
                # glibc: what is reserved is zero, also where memory is used a second time.
                "MALLOC_PERTURB_": "255",
            },
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._to: IO[bytes] = self._popen.stdin
        self._from: IO[bytes] = self._popen.stdout
        self.expired = False

    def ask(self, question: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """What it answers.

        Raises:
            EOFError: it died, or was killed for want of time.
        """
        timer = threading.Timer(PATIENCE, self._expire)
        timer.daemon = True
        timer.start()
        try:
            write_message(self._to, question, content)
            return read_message(self._from)
        except OSError:
            raise EOFError from None
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        self.kill()

    @property
    def alive(self) -> bool:
        """Whether it can be asked: something may have killed it while it was idle."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """End it, and the child that decodes."""
        try:
            if hasattr(os, "killpg"):
                os.killpg(self._popen.pid, signal.SIGKILL)
            else:
                self._popen.kill()
        except OSError:
            pass

    def end(self) -> int:
        """Kill it and let go of its pipes; its exit code."""
        code = self._popen.poll() if self.expired else _wait(self._popen)
        self.kill()
        self._popen.wait()
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except OSError:
                continue
        return code or 0


def _wait(process: "subprocess.Popen[bytes]") -> int | None:
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return None


class Apart:
    """The processes of this one: as many as threads ask at once, started when they are needed."""

    def __init__(self) -> None:
        self._idle: dict[bool, list[_Process]] = {True: [], False: []}
        """By whether they decode in children: in the memory of the others images were."""
        self._busy: dict[_Process, int] = {}
        """And which thread waits for it."""
        self._lock = threading.Lock()

    def decode(
        self, path: str, content: bytes | None = None, *, look: bool, dicom: bool, fresh: bool
    ) -> tuple[dict[str, Any], bytes]:
        """Have an image decoded: what came of it, and the grey pixels.

        Args:
            path: where it is, or its name.
            content: its bytes, where it is in no file.
            look: whether to say what is implausible about it.
            dicom: whether it is one.
            fresh: in a child of its own, in whose memory no other image was.

        Raises:
            DataError: it took too long or too much, or the decoder was killed by it.
        """
        process = self._take(fresh=fresh)
        whole = False
        try:
            about = {"look": look, "dicom": dicom, "fresh": fresh}
            question = {"path": path, "inside": content is not None, **about}
            answer = process.ask(question, content or b"")
            whole = True
            return answer
        except EOFError:
            raise DataError(_why(process.end(), expired=process.expired)) from None
        finally:
            with self._lock:
                self._busy.pop(process, None)
                if whole:
                    self._idle[fresh].append(process)
            if not whole:
                process.end()

    def _take(self, *, fresh: bool) -> _Process:
        """An idle process, or a new one; it is busy from now on."""
        process = None
        while process is None:
            with self._lock:
                idle = self._idle[fresh]
                process = idle.pop() if idle else None
            if process is None:
                process = _Process()
            elif not process.alive:
                process.end()
                process = None
        with self._lock:
            self._busy[process] = threading.get_ident()
        return process

    def stop(self, threads: Collection[int] | None = None) -> None:
        """Give up what is being decoded: whoever waits for it gets an error.

        Args:
            threads: which of those that wait, by their idents; None: all.
        """
        with self._lock:
            busy = [one for one, of in self._busy.items() if threads is None or of in threads]
        for process in busy:
            process.kill()

    def close(self) -> None:
        """End all processes."""
        self.stop()
        with self._lock:
            idle = [process for of_kind in self._idle.values() for process in of_kind]
            self._idle = {True: [], False: []}
        for process in idle:
            process.kill()
            process.end()

    def forget(self) -> None:
        """In a fork: the processes are the parent's."""
        self.__init__()  # type: ignore[misc]


def _why(code: int, *, expired: bool) -> str:
    """Why a decoder died, from its process's exit code: a signal's, or 128 and its child's."""
    code = 128 - code if code < 0 else code
    if expired or code - 128 == getattr(signal, "SIGXCPU", None):
        return TOO_LONG
    if code - 128 == getattr(signal, "SIGKILL", None):
        return "decoding it was killed, perhaps for want of memory"
    return (
        f"damaged: it kills the decoder (signal {code - 128})"
        if code > 128
        else ("decoding it was given up")
    )


def write_message(file: IO[bytes], values: dict[str, Any], content: bytes | memoryview) -> None:
    """Send values and bytes."""
    text = json.dumps(values).encode()
    file.write(HEAD.pack(len(text), len(content)) + text)
    file.write(content)
    file.flush()


def read_message(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Receive values and bytes.

    Raises:
        EOFError: the other side is gone.
    """
    values, size = read_values(file)
    return values, read_exactly(file, size)


def read_values(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Receive values; also how many bytes come behind them.

    Raises:
        EOFError: the other side is gone.
    """
    text, size = HEAD.unpack(read_exactly(file, HEAD.size))
    values: dict[str, Any] = json.loads(read_exactly(file, text))
    return values, size


def read_exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes; a file without a buffer gives them in parts.

    Raises:
        EOFError: there are fewer.
    """
    parts = []
    while size:
        part = file.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


APART = Apart()
atexit.register(APART.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=APART.forget)
