"""Studies' results on their way from folders to archives, and which archive has which."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, first_few
from cxrtool.core.files import read_text, write_text
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.destinations import Destination
from cxrtool.pacs.retries import WAITS, patiently

SENT = ".sent"
"""Beside a study's results: of each archive that has them, the digest of the work they are of."""


@dataclass
class ResultSender:
    """Sends each study's results to all archives, once."""

    destinations: Sequence[Destination]
    folder: Path
    """Of the results, with a folder for each study."""
    reporter: Reporter
    sent: int = 0
    """Deliveries of a study to an archive."""
    _down: dict[str, str] = field(default_factory=dict)
    """Archives that were tried for long and in vain, and why: once is enough until they answer."""
    _closed: dict[str, str] = field(default_factory=dict)
    """Archives that take nothing until somebody changes a setting, and why."""

    def lacks(self, study: str, work: str) -> bool:
        """Whether an archive has not been sent a study's results.

        Args:
            study: its Study Instance UID.
            work: the digest of what the results are made of.
        """
        there = self._there(study)
        return any(there.get(one.name) != work for one in self.destinations)

    def send(self, study: str, work: str) -> list[str]:
        """Send a study's results to each archive that lacks them.

        Returns:
            Of each archive that does not have them all now, why.
        """
        failures = []
        for destination in self.destinations:
            if self._there(study).get(destination.name) == work:
                continue
            if why := self._failure(destination, study):
                failures.append(f"not sent to {destination.name}: {why}")
            else:
                self.sent += 1
                there = self._there(study) | {destination.name: work}
                write_text(self.folder / study / SENT, json.dumps(there, indent=1))
        return failures

    def _failure(self, destination: Destination, study: str) -> str:
        """Send a study to one archive; why it does not have it all, or nothing."""
        name = destination.name
        if name in self._closed:
            return self._closed[name]
        files = sorted((self.folder / study).glob("*.dcm"))
        try:
            waits = () if name in self._down else WAITS
            delivery = patiently(lambda: destination.send(files), waits)
        except TransientError as error:
            self._tell(self._down, name, str(error))
            return str(error)
        except DestinationError as error:
            self._tell(self._closed, name, str(error))
            return str(error)
        except DataError as error:
            return str(error)
        self._down.pop(name, None)
        return first_few(sorted({one.status for one in delivery.refused}))

    def _tell(self, known: dict[str, str], name: str, why: str) -> None:
        """Warn of an archive, once."""
        if name not in known:
            self.reporter.warn(why)
        known[name] = why

    def _there(self, study: str) -> dict[str, str]:
        with suppress(OSError, ValueError):
            found = json.loads(read_text(self.folder / study / SENT))
            if isinstance(found, dict):
                return found
        return {}
