"""Results on their way to an archive: what is sent, and what the archive says of each file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.uid import UID

from cxrtool.core.errors import CxrToolError, DataError, counted, first_few
from cxrtool.images.decoder_warnings import QUIET
from cxrtool.pacs.statuses import NOT_SUPPORTED, Outcome, Status, status_of

WAYS_OUT = {
    "1.2.840.10008.5.1.4.1.1.88.34": "--sr-class comprehensive makes a report that older ones take",
    "1.2.840.10008.5.1.4.1.1.88.33": "--sr-class enhanced makes a report that older ones take",
    "1.2.840.10008.5.1.4.1.1.11.1": "leave out --presentation-states",
}
"""What helps where a class of results (PS3.4, table B.5-1) is not taken."""


class DestinationError(CxrToolError):
    """A destination that takes nothing as things are: somebody has to change a setting."""


class TransientError(DestinationError):
    """A destination that may take the same files a little later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the destination asks for."""


class Outgoing(NamedTuple):
    """A file that is to be sent, and what has to be known of it."""

    file: Path
    sop_class: UID
    sop_instance: UID
    syntax: UID
    study: UID
    series: UID


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a destination says of one file."""

    file: Path
    sop_instance_uid: str
    accepted: bool
    status: str
    """In words, with what may help."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a destination says of the files of one study."""

    destination: str
    answers: tuple[Answer, ...]

    @property
    def accepted(self) -> tuple[Answer, ...]:
        """Those that it has stored, now or before."""
        return tuple(one for one in self.answers if one.accepted)

    @property
    def refused(self) -> tuple[Answer, ...]:
        """Those that it will never take as they are."""
        return tuple(one for one in self.answers if not one.accepted)


def read_outgoing(files: Sequence[Path]) -> list[Outgoing]:
    """The files of one study as they are sent; their pixels are not read.

    Raises:
        DataError: no file, one that cannot be read or sent, or files of several studies.
    """
    if not files:
        raise DataError("there are no files to send")
    found = [_outgoing(file) for file in files]
    studies = {one.study for one in found}
    if len(studies) > 1:
        raise DataError(
            f"{counted(len(files), 'file')} of {counted(len(studies), 'study')} "
            "(StudyInstanceUID): send those of one study at a time"
        )
    return found


def _outgoing(file: Path) -> Outgoing:
    try:
        with QUIET:
            read = dcmread(
                file,
                stop_before_pixels=True,
                specific_tags=["StudyInstanceUID", "SeriesInstanceUID"],
            )
            meta = read.file_meta
            return Outgoing(
                file,
                UID(meta.MediaStorageSOPClassUID),
                UID(meta.MediaStorageSOPInstanceUID),
                UID(meta.TransferSyntaxUID),
                UID(read.StudyInstanceUID),
                UID(read.SeriesInstanceUID),
            )
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or 'it cannot be read'}") from None
    except Exception as error:  # it may quote a patient
        raise DataError(
            f"{file}: not a DICOM file that can be sent ({type(error).__name__})"
        ) from None


def name_of_class(sop_class: UID) -> str:
    """A SOP class as people know it: `Comprehensive 3D SR`."""
    return sop_class.name.removesuffix(" Storage")


def not_taken(sop_class: UID) -> Status:
    """Of a destination that does not take a class at all, with what may help."""
    help_ = WAYS_OUT.get(sop_class)
    words = f"it takes no {name_of_class(sop_class)}"
    return Status(Outcome.REFUSED, f"{words}: {help_}" if help_ else words)


def status_for(sop_class: UID, code: int) -> Status:
    """What a status says of an instance of a class."""
    return not_taken(sop_class) if code == NOT_SUPPORTED else status_of(code)


def delivery_of(destination: str, said: Sequence[tuple[Outgoing, Status]]) -> Delivery:
    """What became of all files.

    Raises:
        TransientError: some may be taken when all are sent again; what is there already is known
            by its UID and not stored twice.
    """
    later = [status.words for _, status in said if status.outcome is Outcome.LATER]
    if later:
        raise TransientError(
            f"{destination} did not store {counted(len(later), 'file')} of {len(said):,} "
            f"({first_few(sorted(set(later)))})"
        )
    answers = (
        Answer(
            file=one.file,
            sop_instance_uid=str(one.sop_instance),
            accepted=status.outcome is Outcome.ACCEPTED,
            status=status.words,
        )
        for one, status in said
    )
    return Delivery(destination=destination, answers=tuple(answers))
