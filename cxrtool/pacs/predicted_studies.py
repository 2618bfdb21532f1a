"""`predict --dicom`: results of whole studies, from the scores that its rows are made of.

Inputs are sorted into studies by their headers first. What is kept of a study until its last image
was scored are a few kilobytes an image: rows and coarse heat maps, no pixels.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import UID

from cxrtool.core.config import worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError
from cxrtool.images.dicom.instance_ids import InstanceIds
from cxrtool.inference.ensemble import ScoredImage
from cxrtool.inference.inputs import Inputs
from cxrtool.inference.study_sink import StudyCounts
from cxrtool.pacs.frontal import why_not_frontal
from cxrtool.pacs.result_folders import KINDS, ResultFolders
from cxrtool.pacs.result_sender import ResultSender
from cxrtool.pacs.scored_study import ScoredStudy
from cxrtool.pacs.study_members import read_header_of, read_members
from cxrtool.pacs.study_scorer import Looked, StudyScorer

NO_DICOM = "no DICOM"
NOT_FETCHED = "not fetched from its archive"
NO_STUDY = "a DICOM without a valid Study and SOP Instance UID"


@dataclass
class OpenStudy:
    """A study whose results are still to be made."""

    uid: str
    work: str
    """Of `ResultFolders.work`."""
    files: dict[str, Path | None]
    """Of its inputs, by their names; None: it is with an archive."""
    awaited: set[str]
    """The inputs that are still to be scored."""
    looked: dict[Path, Looked] = field(default_factory=dict)
    missing: str = ""
    """Why an archive did not give one of its images."""


class PredictedStudies:
    """Takes images as they are scored, and writes the results of a study after its last one."""

    def __init__(
        self,
        scorer: StudyScorer,
        folders: ResultFolders,
        inputs: Inputs,
        coming: Iterable[str],
        reporter: Reporter,
        workers: int | None = None,
        sender: ResultSender | None = None,
    ) -> None:
        """Sort the inputs into studies; those whose results are complete are left alone.

        Args:
            scorer: of the same ensemble as the images are scored with.
            folders: where results go.
            inputs: all of them.
            coming: the names of those that are scored.
            reporter: told what has no results.
            workers: threads that read headers; None: one a core.
            sender: what sends results to archives, where they are to be sent.
        """
        self.sender = sender
        self.scorer, self.folders, self.reporter = scorer, folders, reporter
        self.counts = StudyCounts(folders.folder)
        self.counts.files.update(dict.fromkeys(KINDS.values(), 0))
        self._of: dict[str, OpenStudy] = {}
        """Open studies, by the names of their inputs."""
        self._complete: list[tuple[str, str]] = []
        """Studies whose results were there already, and the work that these are of."""
        here = {} if inputs.source else dict(zip(inputs.names, inputs.files, strict=True))
        found, scored = self._sorted(inputs, workers), set(coming)
        self.counts.studies = len(found)
        for uid, instances in found.items():
            work = folders.work(scorer.model, uid, set(instances.values()))
            if folders.is_complete(uid, work):
                self.counts.complete += 1
                self._complete.append((uid, work))
                continue
            files = {name: Path(here[name]) if name in here else None for name in instances}
            study = OpenStudy(uid, work, files, scored.intersection(instances))
            self._of |= dict.fromkeys(instances, study)

    def _sorted(self, inputs: Inputs, workers: int | None) -> dict[str, dict[str, str]]:
        """The inputs that are of studies, by study: the instance that each is, by its name."""
        named = {name: place for place, name in enumerate(inputs.names)}
        with ThreadPoolExecutor(max(worker_count(workers), 1)) as pool:
            read = list(pool.map(lambda place: _ids(inputs, place), named.values()))
        found: dict[str, dict[str, str]] = {}
        for name, ids in zip(named, read, strict=True):
            if isinstance(ids, str):
                self.counts.without_study[ids] += 1
            else:
                found.setdefault(ids.study, {})[name] = ids.instance
        return found

    def lacks(self, name: str) -> bool:
        """Whether an input is of a study whose results are still to be made."""
        return name in self._of

    def take(self, name: str, file: str, one: ScoredImage, missing: str = "") -> None:
        """An image was scored; after a study's last one its results are written.

        Raises:
            DataError: they cannot be written: the disk is full, or failed.
        """
        study = self._of.get(name)
        if study is None:
            return
        path = study.files[name] = Path(file)
        study.missing = study.missing or missing
        study.looked[path] = self._look(path, one)
        study.awaited.discard(name)
        if not study.awaited:
            self._close(study)

    def finish(self) -> StudyCounts:
        """Write the results of studies of which no image was scored; all counts.

        Raises:
            DataError: as `take`.
        """
        for study in {id(one): one for one in self._of.values()}.values():
            self._close(study)
        for uid, work in self._complete:
            self._send(uid, work)
        return self.counts

    def _look(self, file: Path, one: ScoredImage) -> Looked:
        """With heat maps only where the study has findings of the image."""
        try:
            frontal = not why_not_frontal(read_header_of(file))
        except DataError:  # left out of its study, which says why
            frontal = False
        return self.scorer.look(one) if frontal else Looked(row=one.row)

    def _close(self, study: OpenStudy) -> None:
        for name in study.files:
            del self._of[name]
        try:
            if study.missing:
                raise DataError(study.missing)
            self.counts.files.update(self.folders.write(self._scored(study), study.work))
            self._send(study.uid, study.work)
        except DataError as error:
            first = next(iter(study.files))
            self.counts.failures.append((first, str(error)))
            self.reporter.warn(f"no results of the study of {first}: {error}")
        except OSError as error:
            raise DataError(
                f"{error.filename}: {error.strerror}; the studies before it have their results, "
                "and --resume continues from them"
            ) from None

    def _send(self, uid: str, work: str) -> None:
        """Send a study's results to the archives that have not been sent them."""
        if self.sender is not None:
            self.counts.unsent += [(uid, why) for why in self.sender.send(uid, work)]
            self.counts.sent = self.sender.sent

    def _scored(self, study: OpenStudy) -> ScoredStudy:
        members, left_out = read_members(file for file in study.files.values() if file is not None)
        left_out += [NOT_FETCHED for file in study.files.values() if file is None]
        looked = {one.uid: study.looked[one.file] for one in members if one.file in study.looked}
        return self.scorer.study(members, looked, left_out)


def _ids(inputs: Inputs, place: int) -> InstanceIds | str:
    """Which instance of which study an input is; else why nothing says it."""
    ids = inputs.ids(place)
    if ids is None:
        return NO_DICOM
    return ids if ids.instance and UID(ids.study).is_valid else NO_STUDY
