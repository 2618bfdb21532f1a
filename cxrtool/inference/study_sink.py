"""What is told of each image as it is scored, so that whole studies can have results of their own.

The rooms after this one know how such results are made.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cxrtool.inference.ensemble import ScoredImage


@dataclass
class StudyCounts:
    """Results of studies: how many of what."""

    folder: Path
    studies: int = 0
    """All that the inputs are of."""
    complete: int = 0
    """Of these, those whose results were there already."""
    files: Counter[str] = field(default_factory=Counter)
    """That were written, by kind: reports, pictures, marks."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Of each study without results, its first file and why."""
    sent: int = 0
    """Deliveries of a study's results to an archive."""
    unsent: list[tuple[str, str]] = field(default_factory=list)
    """Of each study and archive that does not have its results, the Study Instance UID and why."""
    without_study: Counter[str] = field(default_factory=Counter)
    """Inputs that are of no study, by why."""

    @property
    def incomplete(self) -> bool:
        """Whether a study has no results, or an archive does not have a study's."""
        return bool(self.failures or self.unsent)

    def as_json(self) -> dict[str, Any]:
        """The counts as `--json` prints them."""
        return {
            "folder": str(self.folder),
            "studies": self.studies,
            "complete_before": self.complete,
            **dict(self.files),
            "failed": [{"path": path, "error": why} for path, why in self.failures],
            "sent": self.sent,
            "unsent": [{"study": study, "error": why} for study, why in self.unsent],
            "inputs_without_study": dict(self.without_study),
        }


class StudySink(Protocol):
    """Makes results of studies from their images' scores."""

    def lacks(self, name: str) -> bool:
        """Whether an input is of a study whose results are still to be made."""

    def take(self, name: str, file: str, one: ScoredImage, missing: str = "") -> None:
        """An image was scored; the results of a study are made when its last image was.

        Args:
            name: of the input.
            file: where its file is, until another study's image is taken.
            one: what came of it.
            missing: why an archive did not give the file.
        """

    def finish(self) -> StudyCounts:
        """All images were scored: make what is left, of studies without such images."""
