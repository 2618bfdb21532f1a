"""The DICOM results of studies as files: a folder a study, by its Study Instance UID."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.files import whole_file, write_text
from cxrtool.core.json_files import seal_of
from cxrtool.inference.model_facts import ModelFacts
from cxrtool.pacs.scored_study import ScoredStudy, work_identity
from cxrtool.pacs.study_results import study_results

DONE = ".complete"
"""Beside a study's results, written after them: a digest of the work that they are of."""
KINDS = {"report": "reports", "picture": "pictures", "marks": "marks"}
"""What the names of result files begin with, and what several are called."""
OURS = re.compile(rf"({'|'.join(KINDS)})(-\d+)?\.dcm")


@dataclass(frozen=True, kw_only=True)
class ResultFolders:
    """Where results go, and which."""

    folder: Path
    sr_class: str = "comprehensive-3d"
    captures: bool = True
    presentation: bool = False

    def work(self, model: ModelFacts, study: str, images: Iterable[str]) -> str:
        """A digest of what a study's results are made of, with the kinds of results asked for."""
        made_of = work_identity(model, study, images)
        asked = [self.sr_class, self.captures, self.presentation]
        return seal_of({"made of": made_of, "asked": asked})

    def is_complete(self, study: str, work: str) -> bool:
        """Whether all results of this work are there: not those of another model, or fewer images.

        Args:
            study: its Study Instance UID.
            work: of `work`.
        """
        try:
            return (self.folder / study / DONE).read_text(encoding="ascii").strip() == work
        except (OSError, UnicodeDecodeError):
            return False

    def write(self, study: ScoredStudy, work: str) -> Counter[str]:
        """Write a study's results, each file whole; what other work left there is replaced.

        Returns:
            How many of which of `KINDS`.

        Raises:
            DicomError: something of the study's cannot be copied.
            OSError: a file cannot be written; the error names it.
        """
        folder = self.folder / study.uid
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        written, counts = set(), Counter(dict.fromkeys(KINDS.values(), 0))
        for result in study_results(
            study,
            sr_class=self.sr_class,
            captures=self.captures,
            presentation=self.presentation,
        ):
            with whole_file(folder / result.name) as temporary:
                temporary.write_bytes(result.content)
            written.add(result.name)
            counts[KINDS[re.split(r"[-.]", result.name)[0]]] += 1
        for file in folder.iterdir():
            if OURS.fullmatch(file.name) and file.name not in written:
                file.unlink()
        write_text(folder / DONE, f"{work}\n")
        return counts
