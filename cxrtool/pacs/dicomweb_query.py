"""What `--query` asks an archive for: `Modality=DX,StudyDate=20261127`, as keys of QIDO-RS."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pydicom.datadict import (
    dictionary_VR,
    keyword_dict,
    keyword_for_tag,
    tag_for_keyword,
)
from pydicom.tag import Tag

from cxrtool.core.errors import UsageError, did_you_mean

MODALITY, MODALITIES = "Modality", "ModalitiesInStudy"
OF_STUDY = frozenset(
    {
        *("StudyDate", "StudyTime", "AccessionNumber", MODALITIES, "StudyInstanceUID"),
        *("StudyID", "StudyDescription", "ReferringPhysicianName", "PatientName", "PatientID"),
        *("PatientBirthDate", "PatientSex", "PatientAge", "IssuerOfPatientID"),
        *("InstitutionalDepartmentName", "InstitutionName"),
    }
)
"""What is asked of studies (PS3.18, table 10.6.1-5; PS3.4, table C.6-1)."""
OF_SERIES = frozenset(
    {
        *(MODALITY, "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SeriesDate"),
        *("SeriesTime", "BodyPartExamined", "Laterality", "ProtocolName", "StationName"),
        *("Manufacturer", "ManufacturerModelName", "PerformedProcedureStepStartDate"),
        *("PerformedProcedureStepStartTime", "PerformingPhysicianName"),
    }
)
"""What is asked of series; anything else is asked of images."""
PRIVATE = frozenset(
    {
        *("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyID"),
        *("ReferringPhysicianName", "PerformingPhysicianName", "IssuerOfPatientID"),
    }
)
"""Values that no message repeats."""
TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
COMMA = re.compile(r",(?![0-9A-Fa-f]{4}\))")
"""Between keys, not within a tag such as (0008,0060)."""
DATE = re.compile(r"[0-9]{8}|[0-9]{8}-[0-9]{8}|-[0-9]{8}|[0-9]{8}-")
NOT_SEARCHED = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "OB or OW", "UN", "AT"})
"""Kinds of values that are no text or number."""
EXACT = frozenset({"CS", "UI", "DA"})
"""Kinds of values that fit where they are the same."""
KEYWORDS = {keyword.lower(): keyword for keyword in keyword_dict}
EXAMPLE = "Modality=DX,StudyDate=20261127"


@dataclass(frozen=True)
class Query:
    """Keys by their keywords, and what each has to be."""

    keys: Mapping[str, str]

    @property
    def studies(self) -> dict[str, str]:
        """Those of studies; a modality is asked for there too, so that fewer are looked into."""
        found = {key: value for key, value in self.keys.items() if key in OF_STUDY}
        if MODALITY in self.keys:
            found.setdefault(MODALITIES, self.keys[MODALITY])
        return found

    @property
    def series(self) -> dict[str, str]:
        """Those of series."""
        return {key: value for key, value in self.keys.items() if key in OF_SERIES}

    @property
    def images(self) -> dict[str, str]:
        """Those of images: all others."""
        known = OF_STUDY | OF_SERIES
        return {key: value for key, value in self.keys.items() if key not in known}

    def __str__(self) -> str:
        """What was understood, in words, without the values that name a patient."""
        parts = [
            f"{level} with {_shown(keys)}" if keys else f"any {level}"
            for level, keys in (
                ("studies", self.studies),
                ("series", self.series),
                ("images", self.images),
            )
        ]
        return ", ".join(parts)


def _shown(keys: Mapping[str, str]) -> str:
    return " and ".join(
        f"{key} as given" if key in PRIVATE else f"{key}={value}" for key, value in keys.items()
    )


def parse_query(text: str) -> Query:
    """Read a query: KEY=VALUE, several with commas between, all of which have to fit.

    A key is a DICOM keyword or a tag. A value may be a range of dates or times (20261101-20261127,
    20261101-) or have wildcards (CHEST*), as PS3.4, C.2.2.2 says.

    Raises:
        UsageError: a key that is unknown or there twice, or a value that is missing or no date.
    """
    keys: dict[str, str] = {}
    for part in COMMA.split(text):
        before, sign, value = part.partition("=")
        if not sign:
            raise UsageError(
                f"--query: {part.strip()[:20]!r} is not KEY=VALUE; write it as {EXAMPLE!r}"
            )
        key, value = _keyword(before.strip()), value.strip()
        if not value:
            raise UsageError(f"--query: {key} has no value")
        if key in keys:
            raise UsageError(
                f"--query: {key} is there twice: give --query twice for images of either kind"
            )
        if dictionary_VR(key) in NOT_SEARCHED:
            raise UsageError(f"--query: nothing can be searched by {key}, which has no plain value")
        if dictionary_VR(key) == "DA" and not DATE.fullmatch(value):
            raise UsageError(
                f"--query: {key} has to be a date such as 20261127, or a range of dates such as "
                "20261101-20261127"
            )
        keys[key] = value
    return Query(keys)


def _keyword(text: str) -> str:
    """The keyword that is meant by a keyword or a tag."""
    tag = TAG.fullmatch(text)
    if tag is not None:
        found = keyword_for_tag(Tag(int(tag[1], 16), int(tag[2], 16)))
        if found:
            return found
        raise UsageError(f"--query: {text} is not a tag of the DICOM standard")
    if (known := KEYWORDS.get(text.lower())) is not None:
        return known
    near = get_close_matches(text.lower(), list(KEYWORDS), n=3, cutoff=0.7)
    shown = did_you_mean([KEYWORDS[one] for one in near])
    raise UsageError(
        f"--query: {text!r} is not a DICOM keyword{shown}; such are Modality, StudyDate, "
        "BodyPartExamined"
    )


def differs(keyword: str, wanted: str, found: str) -> bool:
    """Whether a plain value is another one than was asked for: not all servers look at all keys."""
    plain = not any(sign in wanted for sign in "*?-\\") and dictionary_VR(keyword) in EXACT
    return plain and bool(found) and wanted != found.strip(" \0")


def hexadecimal(keyword: str) -> str:
    """A keyword's tag as DICOM JSON has it (PS3.18, F.2.2): `00080060`."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return f"{tag:08X}"
