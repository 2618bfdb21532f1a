"""A trial: a training in a process of its own, which ends with the search that began it.

The process is told its work in a line of JSON on stdin, and tells how it goes in lines of JSON on
stdout. While stdin is open, the search lives; once it is closed, the trial ends at once. (A search
that is killed cannot tell its trial to end, and one that goes on unseen would hold the device.)
"""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from cxrtool.core import errors
from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import CxrToolError, NotWrittenError
from cxrtool.core.workspace import Workspace

TICK = 0.5
"""Seconds between two looks at whether the trial shall go on."""
PATIENCE = 120
"""Seconds in which a trial that is asked to stop writes its checkpoint."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig(TrainConfig):
    """A training that is a trial of a search."""

    study: str


@dataclass(frozen=True)
class Outcome:
    """What became of a trial's process."""

    kind: str
    """`done`, `stopped` (it was asked to), `refused` (no trial can work so: something must be
    mended first, such as a full disk), `failed`, `killed`."""
    result: Mapping[str, Any] = field(default_factory=dict)
    error: CxrToolError | None = None
    reason: str = ""


def run_trial(
    config: TrainConfig,
    workspace: Workspace,
    seed: int,
    *,
    on_message: Callable[[str, Any], None],
    shall_stop: Callable[[], bool],
) -> Outcome:
    """Train in a process of its own.

    Args:
        config: of the training; with `resume`, its settings are those of the run.
        workspace: with a manifest and a split.
        seed: of the training.
        on_message: called with a kind and a value: `score` (a validation's mean AUROC), `epoch`
            (what goes on), `share` (of the training that is done), `warning` and `note` (a text).
        shall_stop: asked twice a second; once it says so, the training is stopped in order, with a
            checkpoint to go on from.

    Returns:
        How it ended; it raises nothing of the training's.
    """
    job = {"config": asdict(config), "workspace": str(workspace.folder.absolute()), "seed": seed}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = _start(said)
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            ended, asked = _listen(process, on_message, shall_stop)
            code = process.wait()
        finally:
            # However the search leaves, nothing of it goes on.
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        said.seek(0)
        return _outcome(ended, code, said.read(), asked)


def _start(said: IO[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cxrtool.workflows.tune_trial"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is the search's to deal with
    )


def _listen(
    process: "subprocess.Popen[str]",
    on_message: Callable[[str, Any], None],
    shall_stop: Callable[[], bool],
) -> tuple[dict[str, Any], bool]:
    """Pass messages on until the process ends; its last word, and whether it was asked to stop."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    ended: dict[str, Any] = {}
    asked, waited = False, 0.0
    while True:
        try:
            line = lines.get(timeout=TICK)
        except queue.Empty:
            waited += TICK * asked
            line = ""
        if line is None:
            return ended, asked
        message = json.loads(line) if line.startswith("{") else {}
        for kind, value in message.items():
            if kind in ("result", "error"):
                ended[kind] = value
            else:
                on_message(kind, value)
        if not asked and shall_stop():
            asked = True
            process.terminate()
        if waited > PATIENCE:
            process.kill()


def _outcome(ended: dict[str, Any], code: int, said: str, asked: bool) -> Outcome:
    if "result" in ended:
        return Outcome("done", ended["result"])
    if "error" in ended:
        kind, text = ended["error"]
        error: CxrToolError = getattr(errors, kind)(text)
        if isinstance(error, errors.StoppedError):
            return Outcome("stopped")
        refused = not isinstance(error, errors.RunError) or isinstance(error, NotWrittenError)
        return Outcome("refused" if refused else "failed", error=error, reason=text)
    last = [line for line in said.strip().splitlines() if line.strip()][-1:]
    told = f": {last[0].strip()}" if last else ""
    if code < 0:
        name = signal.Signals(-code).name
        return Outcome("stopped" if asked else "killed", reason=f"killed by {name}{told}")
    return Outcome("failed", reason=f"its process ended with {code}{told}")
