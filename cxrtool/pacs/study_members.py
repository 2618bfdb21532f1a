"""The files of a study: their headers, in the order of the study, and which are to be scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from cxrtool.core.files import open_regular
from cxrtool.images.dicom import DicomError
from cxrtool.pacs.frontal import why_not_frontal
from cxrtool.pacs.headers import read_header

TWICE = "a second copy of an image of the study"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One object of a study."""

    file: Path
    header: Dataset
    why_not: str
    """Why it is not scored; empty for a frontal chest X-ray."""

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return str(self.header.SOPInstanceUID)


def read_members(files: Iterable[Path]) -> tuple[list[Member], list[str]]:
    """The objects of a study by their files, and a reason for each file that is left out.

    Their order is that of series and instance numbers, whatever that of the files.
    """
    found: dict[str, Member] = {}
    left_out = []
    for file in files:
        try:
            header = read_header_of(file)
        except DicomError as error:
            left_out.append(str(error))
            continue
        one = Member(file=file, header=header, why_not=why_not_frontal(header))
        if found.setdefault(one.uid, one) is not one:
            left_out.append(TWICE)
    return sorted(found.values(), key=_place), left_out


def read_header_of(file: Path) -> Dataset:
    """The header of any DICOM object, as of `read_header`.

    Raises:
        DicomError: it cannot be read; the message names neither the file nor what is in it.
    """
    try:
        with open_regular(file) as opened:
            return read_header(opened, any_object=True)
    except OSError as error:
        raise DicomError(f"cannot be read ({error.strerror or type(error).__name__})") from None


def _place(one: Member) -> tuple[int, int, str]:
    return _number(one.header, "SeriesNumber"), _number(one.header, "InstanceNumber"), one.uid


def _number(header: Dataset, keyword: str) -> int:
    try:
        return int(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0
