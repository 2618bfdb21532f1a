"""Decoding in processes of its own, each image with a limit of time and memory.

A decoder may hang, exhaust memory, crash on a damaged file, or show old memory in a picture. So a
file that is not known to be harmless is decoded by another process under limits that the system
enforces (`apart_process`), and an upload by a child of that process that lives for one image. A
failure there is an error of one image.
"""

import atexit
import json
import os
import signal
import struct
import subprocess
import threading
from collections.abc import Collection
from typing import IO, Any

from cxrtool.core.children import start_module
from cxrtool.core.errors import DataError

SECONDS = 30
"""CPU time that decoding one image may take."""
PATIENCE = 120
"""Seconds to wait for one image on a busy machine."""
MEMORY = 2**30
"""Bytes that decoding may use beyond those of the idle process."""
MODULE = "cxrtool.images.apart_process"
HEAD = struct.Struct(">II")
"""Lengths of a message's JSON and of the bytes that follow it."""
TOO_LONG = f"decoding took longer than the {SECONDS} s allowed for an image"


class _Process:
    """A process that decodes, one image after another."""

    def __init__(self) -> None:
        # glibc: what is reserved is zero, also where memory is used a second time.
        limits = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_PERTURB_": "255"}
        self._popen = start_module(MODULE, limits)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._to: IO[bytes] = self._popen.stdin
        self._from: IO[bytes] = self._popen.stdout
        self.expired = False

    def ask(self, question: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Send a question and return the answer.

        Raises:
            EOFError: the process died, or was killed after `PATIENCE` seconds.
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
        """Whether the process still runs: it may have been killed while idle."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """Kill the process and its decoding child."""
        try:
            if hasattr(os, "killpg"):
                os.killpg(self._popen.pid, signal.SIGKILL)
            else:
                self._popen.kill()
        except OSError:
            pass

    def end(self) -> int:
        """Kill the process, close its pipes and return its exit code."""
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
    """This program's decoding processes: one per thread that asks at once, started on demand."""

    def __init__(self) -> None:
        self._idle: dict[bool, list[_Process]] = {True: [], False: []}
        """By `fresh`: whether they decode in children; images were in the memory of the others."""
        self._busy: dict[_Process, int] = {}
        """With the thread that waits for each."""
        self._lock = threading.Lock()

    def decode(
        self,
        path: str,
        content: bytes | None = None,
        *,
        look: bool,
        dicom: bool,
        fresh: bool,
        film: bool = False,
    ) -> tuple[dict[str, Any], bytes]:
        """Have an image decoded: facts about it, and its pixels.

        Args:
            path: the file, or the name of an upload.
            content: the bytes of an upload.
            look: whether to check that it is a plausible X-ray.
            dicom: whether it is a DICOM.
            fresh: decode in a new child, in whose memory no other image was.
            film: whether it is an upload for display: `film` says what the answer then is.

        Raises:
            DataError: it took too much time or memory, or it crashed the decoder.
        """
        process = self._take(fresh=fresh)
        whole = False
        try:
            about = {"look": look, "dicom": dicom, "fresh": fresh, "film": film}
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
        """Take an idle process, or start one, and mark it busy."""
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
        """Stop decoding: the threads that wait get an error.

        Args:
            threads: idents of the threads concerned; None: all.
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
    """Why a decoder died: its exit code is that of a signal, or 128 plus that of its child."""
    code = 128 - code if code < 0 else code
    if expired or code - 128 == getattr(signal, "SIGXCPU", None):
        return TOO_LONG
    if code - 128 == getattr(signal, "SIGKILL", None):
        return "decoding was killed, perhaps because memory ran out"
    return (
        f"damaged: it crashes the decoder (signal {code - 128})"
        if code > 128
        else "decoding was stopped"
    )


def write_message(file: IO[bytes], values: dict[str, Any], *parts: bytes | memoryview) -> None:
    """Send values and bytes, which are one even if they come in parts."""
    text = json.dumps(values).encode()
    file.write(HEAD.pack(len(text), sum(len(part) for part in parts)) + text)
    for part in parts:
        file.write(part)
    file.flush()


def read_message(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Receive values and bytes.

    Raises:
        EOFError: the other side is gone.
    """
    values, size = read_values(file)
    return values, read_exactly(file, size)


def read_values(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Receive values, and how many bytes follow them.

    Raises:
        EOFError: the other side is gone.
    """
    text, size = HEAD.unpack(read_exactly(file, HEAD.size))
    values: dict[str, Any] = json.loads(read_exactly(file, text))
    return values, size


def read_exactly(file: IO[bytes], size: int) -> bytes:
    """Read `size` bytes; an unbuffered file returns them in parts.

    Raises:
        EOFError: there are fewer.
    """
    # In place: each read of an unbuffered file would first have room for all that is to come.
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        part = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not part:
            raise EOFError
        done += part
    return bytes(content)


APART = Apart()
atexit.register(APART.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=APART.forget)
