"""Results on their way out of a spool: sent until each destination has them, across restarts."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, counted
from cxrtool.pacs.delivery import Delivery, DestinationError, TransientError
from cxrtool.pacs.destinations import Destination
from cxrtool.pacs.identity import SHORT
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.spool import OUTBOX, Spool
from cxrtool.pacs.spooled_study import DELIVERED, REFUSED, SpooledStudy

PAUSE = 0.1
"""Seconds between looks at the spool."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds before a destination that failed is tried again: at first, and at most."""
WAITING = "waiting"


@dataclass
class Line:
    """How it stands with a destination."""

    destination: Destination
    failures: int = 0
    """In a row."""
    why: str = ""
    """What it last failed of; empty while it works."""
    last: float = 0.0
    """When it last took something, in seconds since 1970."""

    def wait(self, asked: float | None) -> float:
        """Seconds until the next attempt, after one more failure."""
        self.failures += 1
        own = min(FIRST_WAIT * 2.0 ** min(self.failures - 1, 30), LONGEST_WAIT)
        return max(own, min(asked or 0.0, LONGEST_WAIT))


class Outbox:
    """Sends what a spool's outbox holds, in one thread a destination."""

    def __init__(
        self,
        destinations: Sequence[Destination],
        spool: Spool,
        counts: ListenCounts,
        reporter: Reporter = SILENT,
    ) -> None:
        """Begin to send.

        Args:
            destinations: each is to have the results of each study.
            spool: whose outbox is emptied.
            counts: told of each attempt.
            reporter: told a line a study.
        """
        self.spool, self.counts, self.reporter = spool, counts, reporter
        self.lines = [Line(one) for one in destinations]
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=[line], daemon=True) for line in self.lines
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float) -> None:
        """End; what is being sent has so many seconds, and is else sent again at the next start."""
        self._stopping.set()
        until = time.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, line: Line) -> None:
        while not self._stopping.is_set():
            wait = PAUSE
            try:
                study = self._next(line.destination.name)
                if study is not None:
                    wait = self._send(study, line)
            except OSError as error:  # a full disk
                self.reporter.warn(f"results wait and are sent again: {error.strerror or error}")
                wait = line.wait(None)
            self._stopping.wait(wait)

    def _next(self, name: str) -> SpooledStudy | None:
        """The study that a destination is to have next: what failed seldom first, then the oldest.

        Until `_finish` nobody else has it.
        """
        found = []
        for study in self.spool.studies(OUTBOX):
            try:
                sending = study.sendings().get(name)
                if sending is None or sending.state == WAITING:
                    attempts = sending.attempts if sending else 0
                    found.append((attempts, study.folder.stat().st_mtime, study.name, study))
            except FileNotFoundError:  # it moved on
                continue
        chosen = (study for *_, study in sorted(found, key=lambda one: one[:3]))
        return next((study for study in chosen if self.spool.claim_answered(study)), None)

    def _send(self, study: SpooledStudy, line: Line) -> float:
        """Send a claimed study; seconds to wait before the next."""
        began, name, short = time.monotonic(), line.destination.name, study.name[:SHORT]
        try:
            if not study.answered:  # an image came: it is scored again
                return 0.0
            files = study.result_files()
            try:
                delivery = line.destination.send(files)
            except DestinationError as error:
                return self._failed(study, line, error)
            except DataError as error:
                study.note_sending(name, REFUSED, str(error))
                self.counts.sending(REFUSED)
                return 0.0
            if line.why:
                self.reporter.note(f"{name} takes results again")
            line.failures, line.why, line.last = 0, "", time.time()
            self._said(study, delivery)
            self.reporter.note(
                f"study {short}: sent to {name}, {len(delivery.accepted)} of "
                f"{counted(len(files), 'result')}, {time.monotonic() - began:.1f} s"
            )
            return 0.0
        finally:
            self._finish(study)

    def _failed(self, study: SpooledStudy, line: Line, error: DestinationError) -> float:
        """Note that a destination took nothing; seconds until it is tried again."""
        asked = error.retry_after if isinstance(error, TransientError) else None
        wait = line.wait(asked)
        line.why = str(error)
        study.note_sending(line.destination.name, WAITING, str(error))
        self.counts.sending("failed")
        waiting = counted(len(self.spool.studies(OUTBOX)), "study")
        self.reporter.warn(f"{error}; {waiting} in the queue, tried again in {wait:.0f} s")
        return wait

    def _said(self, study: SpooledStudy, delivery: Delivery) -> None:
        """Note what a destination said."""
        refused = delivery.refused
        if not refused:
            study.note_sending(delivery.destination, DELIVERED)
            self.counts.sending(DELIVERED)
            return
        why = "; ".join(sorted({one.status for one in refused}))
        study.note_sending(delivery.destination, REFUSED, why)
        self.counts.sending(REFUSED)
        self.reporter.warn(
            f"{delivery.destination} refuses results: {why}. They are kept; "
            "`cxrtool listen --retry-refused` makes and sends them again"
        )

    def _finish(self, study: SpooledStudy) -> None:
        """Give a study free; it moves on when no destination is left to be tried."""
        finished = False
        try:
            known = study.sendings()
            mine = [known.get(line.destination.name) for line in self.lines]
            finished = all(one is not None and one.state != WAITING for one in mine)
            refused = [one.why for one in mine if one is not None and one.state == REFUSED]
            if finished and refused and study.answered:
                self.spool.refuse(study, "; ".join(refused))
                self.counts.study("refused by a destination")
        finally:
            self.spool.release(study.name, finished=finished)
