"""Quiet studies of a spool to results in its outbox, by a process that has loaded the model once.

A study may crash the libraries that decode it. So another process scores, and is started again when
it dies; a study that it died on twice is answered by a report that says so.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO, Any

from cxrtool.core.children import start_module
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import RunError, counted
from cxrtool.images.apart import read_message, write_message
from cxrtool.pacs.identity import SHORT
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.scoring_process import Model
from cxrtool.pacs.spool import Spool
from cxrtool.pacs.spooled_study import MOST_DEATHS, SpooledStudy

MODULE = "cxrtool.pacs.scoring_process"
PATIENCE = 900
"""Seconds that a study may take."""
PAUSE = 0.1
"""Seconds between looks at the spool."""
LONGEST_PAUSE = 60.0
"""Seconds before a process that dies at once is started again, at most."""


class ScoringProcess:
    """A process that scores studies."""

    def __init__(self, model: Model) -> None:
        """Start it; it loads the model meanwhile."""
        self._popen = start_module(MODULE)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._to: IO[bytes] = self._popen.stdin
        self._from: IO[bytes] = self._popen.stdout
        with suppress(OSError):
            write_message(self._to, model.as_json())

    def wait_until_ready(self) -> dict[str, Any]:
        """What it has loaded.

        Raises:
            RunError: the model cannot be loaded.
            EOFError: the process died.
        """
        answer = read_message(self._from)[0]
        if "error" in answer:
            raise RunError(answer["error"])
        ready: dict[str, Any] = answer["ready"]
        return ready

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """What came of a study.

        Raises:
            EOFError: the process died, or was killed after `PATIENCE` seconds.
        """
        timer = threading.Timer(PATIENCE, self.kill)
        timer.daemon = True
        timer.start()
        try:
            write_message(self._to, question)
            return read_message(self._from)[0]
        except OSError:
            raise EOFError from None
        finally:
            timer.cancel()

    def kill(self) -> None:
        """End it at once, and what it decodes with."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._popen.pid, signal.SIGKILL)
            else:
                self._popen.kill()

    def end(self) -> str:
        """End it, and say how it ended."""
        with suppress(OSError):
            self._to.close()
        try:
            code = self._popen.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._popen.wait()
        self._from.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class StudyWorker:
    """Scores the quiet studies of a spool, one after another, in a thread of its own."""

    def __init__(
        self,
        model: Model,
        spool: Spool,
        counts: ListenCounts,
        reporter: Reporter = SILENT,
        *,
        quiet: float = 10,
    ) -> None:
        """Begin to load the model.

        Args:
            model: that scores.
            spool: whose studies are scored.
            counts: told what became of them.
            reporter: told a line a study.
            quiet: seconds without another image, after which a study is taken to be whole.
        """
        self.model, self.spool, self.counts, self.reporter = model, spool, counts, reporter
        self.quiet = quiet
        self.ready: dict[str, Any] = {}
        """What the process has loaded; empty while there is none that is ready."""
        self.failure: RunError | None = None
        """Why there will be none."""
        self._began = threading.Event()
        self._stopping = threading.Event()
        self._process: ScoringProcess | None = ScoringProcess(model)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def wait_until_ready(self) -> dict[str, Any]:
        """What was loaded.

        Raises:
            RunError: the model cannot be loaded.
        """
        self._began.wait()
        if self.failure is not None:
            raise self.failure
        return self.ready

    def stop(self, grace: float) -> None:
        """End: the study that is being scored has so many seconds, else it stays in the queue."""
        self._stopping.set()
        self._thread.join(grace)
        process = self._process
        if process is not None:
            process.kill()
        self._thread.join()

    def _work(self) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            try:
                self._serve()
                pause = 1.0
            except RunError as error:
                if not self._began.is_set():
                    self.failure = error
                    self._began.set()
                    return
                self.reporter.warn(f"the scoring process cannot start again: {error}")
            except EOFError:
                if not self._began.is_set():
                    self.failure = RunError(f"the scoring process ended: {self._end()}")
                    self._began.set()
                    return
            finally:
                self._end()
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _end(self) -> str:
        process, self._process, self.ready = self._process, None, {}
        self.counts.worker(ready=False)
        return "" if process is None else process.end()

    def _serve(self) -> None:
        """Score studies until the process dies.

        Raises:
            EOFError: it died before it was ready.
            RunError: it cannot load the model.
        """
        if self._process is None:
            self._process = ScoringProcess(self.model)
        self.ready = self._process.wait_until_ready()
        self.counts.worker(ready=True)
        for text in self.ready.get("warnings", ()):
            self.reporter.warn(text)
        self._began.set()
        while not self._stopping.is_set():
            study = self.spool.claim_quiet(self.quiet)
            if study is None:
                self._stopping.wait(PAUSE)
                continue
            try:
                self._score(study, self._process)
            except EOFError:
                self._died(study)
                return
            except OSError as error:  # a full disk: it is tried again
                self._delayed(study, error.strerror or type(error).__name__)
            finally:
                self.spool.release(study.name)

    def _score(self, study: SpooledStudy, process: ScoringProcess) -> None:
        """Have a study scored, and put its results into the outbox.

        Raises:
            EOFError: the process died.
            OSError: the results cannot be written.
        """
        began = time.monotonic()
        names, files, made = study.names(), study.files(), self.spool.new_folder()
        given_up = study.given_up
        try:
            answer = process.ask(
                {"files": [str(one) for one in files], "into": str(made), "given_up": given_up}
            )
            if "delayed" in answer:
                self._delayed(study, answer["delayed"])
            elif "refused" in answer or (given_up and "failed" in answer):
                self._refused(study, answer.get("refused") or answer["failed"])
            elif "failed" in answer:
                self._failed(study, answer["failed"])
            elif self.spool.commit(study, names, made):
                self.counts.study("failed" if given_up else "answered")
                seconds = time.monotonic() - began
                self.counts.scored(seconds)
                self._tell(study, answer, seconds, cleaned=len(names) - len(files))
            else:
                self.reporter.detail(f"study {study.name[:SHORT]}: more images came meanwhile")
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _tell(
        self, study: SpooledStudy, answer: dict[str, Any], seconds: float, cleaned: int
    ) -> None:
        reasons = "; ".join(answer["why_not"])
        self.reporter.note(
            f"study {study.name[:SHORT]}: {counted(answer['images'], 'image')}, "
            f"{answer['scored']} scored{f' (others: {reasons})' if reasons else ''}, "
            f"{counted(answer['results'], 'result')}, {seconds:.1f} s"
            f"{f'; {cleaned} more were cleaned up before' if cleaned else ''}"
        )

    def _refused(self, study: SpooledStudy, why: str) -> None:
        self.spool.refuse(study, why)
        self.counts.study("refused")
        self.reporter.warn(f"study {study.name[:SHORT]} is put aside: {why}")

    def _delayed(self, study: SpooledStudy, why: str) -> None:
        self.spool.delay(study)
        self.counts.study("delayed")
        self.reporter.warn(f"studies wait and are tried again: {why}")

    def _died(self, study: SpooledStudy) -> None:
        """The process is gone: by our own end, or by the study."""
        how = self._end()
        if not self._stopping.is_set():
            self._failed(study, f"the scoring process ended ({how})")

    def _failed(self, study: SpooledStudy, why: str) -> None:
        """Try again, or give up what failed twice: its report then says so."""
        deaths = study.note_death(f"could not be scored: {why}")
        again = "once more" if deaths < MOST_DEATHS else "not any more: its report will say so"
        self.counts.study("crashed")
        self.reporter.warn(f"study {study.name[:SHORT]}: {why}; it is scored {again}")
