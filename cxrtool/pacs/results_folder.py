"""A folder as a destination: the results of each study in a folder of its StudyInstanceUID."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.files import fsync, fsync_folder
from cxrtool.pacs.delivery import Answer, Delivery, TransientError, read_outgoing

MAKING = ".cxrtool-"
"""Begins the names of folders that are being written."""


@dataclass(frozen=True, kw_only=True)
class ResultsFolder:
    """Takes results as files: those of a study appear at once, and replace earlier ones."""

    folder: Path

    @property
    def name(self) -> str:
        """As messages call it."""
        return str(self.folder)

    def send(self, files: Sequence[Path]) -> Delivery:
        """Copy all files of one study.

        Raises:
            DataError: the files are not results of one study.
            TransientError: the folder cannot be written to.
        """
        outgoing = read_outgoing(files)
        target = self.folder / str(outgoing[0].study)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._put(files, target)
        except OSError as error:
            raise TransientError(f"{self.folder}: {error.strerror or error}") from None
        answers = (
            Answer(
                file=one.file,
                sop_instance_uid=str(one.sop_instance),
                accepted=True,
                status="written",
            )
            for one in outgoing
        )
        return Delivery(destination=self.name, answers=tuple(answers))

    def _put(self, files: Sequence[Path], target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=MAKING, dir=self.folder) as folder:
            made = Path(folder) / "new"
            made.mkdir()
            for file in files:
                fsync(Path(shutil.copyfile(file, made / file.name)))
            fsync_folder(made)
            if target.exists():  # of an earlier round
                target.rename(Path(folder) / "old")
            made.rename(target)
            fsync_folder(self.folder)

    def echo(self) -> None:
        """Check that it can be written to.

        Raises:
            TransientError: it cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=MAKING, dir=self.folder):
                pass
        except OSError as error:
            raise TransientError(f"{self.folder}: {error.strerror or error}") from None

    def sweep(self) -> None:
        """Remove what a killed listener had begun to write."""
        for left in self.folder.glob(f"{MAKING}*"):
            shutil.rmtree(left, ignore_errors=True)
