"""A trial's process: a training that says how it goes in JSON; `search.trial_process` reads it."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import Reporter, TrainingDisplay
from cxrtool.core.errors import CxrToolError
from cxrtool.core.workspace import Workspace


class Messenger(Reporter):
    """Says what a training says in messages to the search."""

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__(quiet=True, progress=False)
        self.send = send

    def note(self, text: str) -> None:
        """A line about what is being done."""
        self.send(note=text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.send(warning=text)

    @contextmanager
    def training(self, done: int, total: int) -> Iterator[TrainingDisplay]:
        """Tell how far the training is."""
        yield _Told(self.send, done, total)


class _Told(TrainingDisplay):
    """Tells the search about epochs, shares of the training, and scores."""

    def __init__(self, send: Callable[..., None], done: int, total: int) -> None:
        self._send, self._done, self._total = send, done, total
        self._told = 0.0

    def begin(self, title: str, total: int) -> None:
        """A pass over `total` images begins."""
        self._send(epoch=title)

    def advance(self, images: int) -> None:
        """So many images more are done."""
        self._done += images
        share = round(self._done / max(self._total, 1), 2)
        if share != self._told:
            self._told = share
            self._send(share=share)

    def scores(self, auroc: float, best: float | None) -> None:
        """A validation came to an end."""
        self._send(score=auroc)


def main() -> None:
    """The process of a trial."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no message

    def send(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    line = sys.stdin.readline()
    if not line:
        return
    job = json.loads(line)
    threading.Thread(target=_end_with_the_search, daemon=True).start()
    try:
        from cxrtool.workflows.train import train_model

        settings = job["config"]
        study = settings.pop("study", None)
        result = train_model(
            TrainConfig(**settings),
            Workspace(Path(job["workspace"])),
            seed=job["seed"],
            given={"resume"} if settings["resume"] else set(),
            study=study,
            reporter=Messenger(send),
        )
        send(result=result.as_json())
    except CxrToolError as error:
        send(error=[type(error).__name__, str(error)])
        sys.exit(error.exit_code)


def _end_with_the_search() -> None:
    sys.stdin.read()
    # With the processes that decode images, which would keep the run locked for seconds. The trial
    # leads a group of its own.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
