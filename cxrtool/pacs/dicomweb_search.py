"""Which images an archive has (QIDO-RS; PS3.18, 10.6): studies first, then series, then images.

That is the search which every server has to know. dicomweb-client would ask a server that does not
know `offset` for ever, and does not show what servers warn of.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import requests
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import UID

from cxrtool.images.dicom.views import TAGS as VIEW_TAGS
from cxrtool.images.dicom.views import lateral
from cxrtool.inference.sources import DICOMWEB
from cxrtool.pacs.delivery import DestinationError, name_of_class
from cxrtool.pacs.dicomweb_access import JSON, DicomWebAccess, media_type
from cxrtool.pacs.dicomweb_query import MODALITIES, Query, differs, hexadecimal
from cxrtool.pacs.retries import patiently

SERVICE = "QIDO-RS"
STUDY, SERIES, INSTANCE, SOP_CLASS = (
    hexadecimal(f"{level}UID")
    for level in ("StudyInstance", "SeriesInstance", "SOPInstance", "SOPClass")
)
FEW = 20
"""No server gives so few where it has more, without a warning that it has (PS3.18, 8.3.4.4)."""
FEW_WAITS = (1.0, 4.0)
"""Somebody may be waiting."""
DIGITS = re.compile(r"[0-9]+(\.[0-9]+)*")
Entry = Mapping[str, Any]
"""One result: attributes by their tags (PS3.18, F.2.2)."""


class WebImage(NamedTuple):
    """An image that an archive has, by its UIDs."""

    study: str
    series: str
    instance: str
    lateral: str = ""
    """Why it is a lateral view, where the archive says so."""

    @property
    def name(self) -> str:
        """As rows name it: the archive's own numbers, and nothing of a patient."""
        return f"{DICOMWEB}{self.study}/{self.series}/{self.instance}"


@dataclass(frozen=True)
class Findings:
    """What a search found."""

    images: tuple[WebImage, ...]
    """In the order of their UIDs, each once."""
    passed_over: Counter[str]
    """Objects that are no images, by the names of their classes."""
    ignored: tuple[str, ...]
    """Keys that the archive may not have looked at: no result has them."""


def find_images(access: DicomWebAccess, queries: Sequence[Query]) -> Findings:
    """The images that fit any of the queries.

    Raises:
        TransientError: the archive cannot be reached, or is busy, after several attempts.
        DestinationError: it does not let us in, or is not DICOMweb.
    """
    search = _Search(access)
    with access.session() as session:
        for query in queries:
            search.look(session, query)
    asked = {key for query in queries for key in query.keys}
    ignored = [key for key, seen in search.seen.items() if key in asked and not seen]
    return Findings(tuple(sorted(search.images.values())), search.passed_over, tuple(ignored))


class _Search:
    """What has been found so far."""

    def __init__(self, access: DicomWebAccess) -> None:
        self.access = access
        self.images: dict[str, WebImage] = {}
        self.passed_over: Counter[str] = Counter()
        self.others: set[str] = set()
        self.seen: dict[str, bool] = {}
        """Whether some result had a key that was asked for."""

    def look(self, session: requests.Session, query: Query) -> None:
        for study in self._entries(session, "studies", query.studies, STUDY):
            below = f"studies/{_uid(study, STUDY)}/series"
            for series in self._entries(session, below, query.series, SERIES):
                instances = f"{below}/{_uid(series, SERIES)}/instances"
                for found in self._entries(session, instances, query.images, INSTANCE, VIEW_TAGS):
                    self._take(_uid(study, STUDY), _uid(series, SERIES), found)

    def _take(self, study: str, series: str, found: Entry) -> None:
        instance, kind = _uid(found, INSTANCE), UID(_value(found, SOP_CLASS), 0)
        if kind.name != kind and "Image Storage" not in kind.name:
            if instance not in self.others:
                self.others.add(instance)
                self.passed_over[name_of_class(kind)] += 1
            return
        self.images[instance] = WebImage(study, series, instance, lateral_of(found))

    def _entries(
        self,
        session: requests.Session,
        below: str,
        keys: Mapping[str, str],
        uid: str,
        more: Sequence[str] = (),
    ) -> Iterator[Entry]:
        """All results of a search, page by page; each once, by its UID.

        Pages are as long as the server makes them: with `limit`, Orthanc 1.10 has no second one
        where a modality is asked for.
        """
        known: set[str] = set()
        while True:
            query = [*keys.items(), *(("includefield", key) for key in (*keys, *more))]
            query += [("offset", str(len(known)))] if known else []
            ask = partial(self._page, session, below, query)
            page, complete = patiently(ask, FEW_WAITS)
            new = [entry for entry in page if _uid(entry, uid) not in known]
            known.update(_uid(entry, uid) for entry in new)
            for key in keys if new else ():
                there = any(hexadecimal(key) in entry for entry in new)
                self.seen[key] = self.seen.get(key, False) or there
            yield from (entry for entry in new if _fits(entry, keys))
            if complete or not new:
                return

    def _page(
        self, session: requests.Session, below: str, query: list[tuple[str, str]]
    ) -> tuple[list[Entry], bool]:
        """Results from an offset on, and whether there are no more."""
        later = "offset" in dict(query)
        with self.access.get(session, below, query, "application/dicom+json") as answer:
            if later and answer.status_code == requests.codes.not_found:
                return [], True
            self.access.check(answer, SERVICE)
            if answer.status_code == requests.codes.no_content or not answer.content:
                return [], True
            if media_type(answer) not in JSON:
                raise self._not_dicomweb()
            try:
                found = answer.json()
            except requests.JSONDecodeError:
                raise self._not_dicomweb() from None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._not_dicomweb()
        more = len(found) >= FEW or "Warning" in answer.headers
        return found, not (found and more)

    def _not_dicomweb(self) -> DestinationError:
        return DestinationError(
            f"{self.access.name} answers, but not as DICOMweb does: name the address under which "
            "that is, such as https://HOST/dicom-web"
        )


def _value(entry: Entry, tag: str) -> str:
    """An attribute's first value, as text; empty where there is none."""
    of = entry.get(tag)
    values = of.get("Value") if isinstance(of, Mapping) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def lateral_of(entry: Entry) -> str:
    """Why an image is a lateral view; nothing for others."""
    header = Dataset()
    for keyword in VIEW_TAGS:
        tag = hexadecimal(keyword)
        if isinstance(entry.get(tag), Mapping):
            # A server may give anything: what is no attribute says nothing of the view.
            with suppress(Exception):
                header.update(
                    Dataset.from_json({tag: {"vr": dictionary_VR(keyword), **entry[tag]}})
                )
    return lateral(header)


def _fits(entry: Entry, keys: Mapping[str, str]) -> bool:
    """Whether a result has what was asked for, as far as it says so."""
    return not any(
        key != MODALITIES and differs(key, wanted, _value(entry, hexadecimal(key)))
        for key, wanted in keys.items()
    )


def _uid(entry: Entry, tag: str) -> str:
    """A UID that may become part of an address and of a name.

    Raises:
        DestinationError: there is none, or something else in its place.
    """
    found = _value(entry, tag)
    if not DIGITS.fullmatch(found):
        raise DestinationError(f"the archive answers a search without a UID ({tag})")
    return found
