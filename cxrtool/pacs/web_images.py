"""The images of a search in an archive as inputs of `predict`: fetched while others are scored."""

from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, local
from typing import NamedTuple

import requests

from cxrtool.core.config import PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.images.dicom.instance_ids import InstanceIds
from cxrtool.inference.inputs import Inputs
from cxrtool.inference.sources import DICOMWEB, Window
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.dicomweb_access import DicomWebAccess, dicomweb_access
from cxrtool.pacs.dicomweb_query import EXAMPLE, Query
from cxrtool.pacs.dicomweb_retrieval import RetrievalStoppedError, retrieve_image
from cxrtool.pacs.dicomweb_search import WebImage, find_images
from cxrtool.pacs.retries import WAITS, patiently
from cxrtool.pacs.trust import is_https, trust_of

CONNECTIONS = 4
"""Images that are on their way at once."""


def web_archives(config: PredictConfig, inputs: Sequence[str]) -> list[DicomWebAccess]:
    """The archives that inputs such as `dicomweb:https://HOST/dicom-web` name.

    Raises:
        UsageError: not such an address, files among them, or options that do not go with it.
        DataError: certificates or keys that cannot be used.
    """
    urls = [text.removeprefix(DICOMWEB) for text in inputs if text.startswith(DICOMWEB)]
    if len(urls) < len(inputs):
        raise UsageError(f"{DICOMWEB}URL goes without other inputs: score files by themselves")
    if len(set(urls)) < len(urls):
        raise UsageError("the same archive is named twice")
    if config.query is None:
        raise UsageError(
            f"{DICOMWEB}URL is an archive of many images: say which with --query, such as "
            f"--query {EXAMPLE!r}"
        )
    if config.split is not None:
        raise UsageError(f"--split needs a manifest, which {inputs[0]} is not")
    return [
        dicomweb_access(
            url,
            trust=trust_of(config) if is_https(url) else None,
            timeout=config.archive_timeout,
        )
        for url in urls
    ]


def find_web_images(
    archives: Sequence[DicomWebAccess],
    queries: Sequence[Query],
    folder: Path,
    reporter: Reporter,
) -> Inputs:
    """The images of archives that fit any of the queries, as inputs.

    Args:
        archives: which are asked.
        queries: what is asked of each.
        folder: of this process alone, for images on their way.
        reporter: told what was found.

    Raises:
        DataError: nothing fits.
        TransientError, DestinationError: an archive cannot be asked.
    """
    found: list[WebFile] = []
    passed_over: Counter[str] = Counter()
    for access in archives:
        with reporter.busy(f"asking {access.name}"):
            result = find_images(access, queries)
        for key in result.ignored:
            reporter.warn(
                f"{access.name} says {key} of no image that it found: it may not search by it"
            )
        for image in result.images:
            found.append(WebFile(access, image, folder / f"{len(found)}.dcm"))
        passed_over += result.passed_over
    if not found:
        others = Inputs([], [], passed_over).others()
        raise DataError(
            f"{first_few([one.name for one in archives])}: no image fits --query, understood as "
            + "; or as ".join(str(query) for query in queries)
            + f"; {others}" * bool(others)
        )
    studies = len({one.image.study for one in found})
    reporter.note(f"found {counted(len(found), 'image')} of {counted(studies, 'study')}")
    names, files = [one.image.name for one in found], [str(one.file) for one in found]
    return Inputs(names, files, passed_over, source=WebImages(tuple(found)))


class WebFile(NamedTuple):
    """An image, where it is, and where it will be."""

    access: DicomWebAccess
    image: WebImage
    file: Path


@dataclass(frozen=True)
class WebImages:
    """Images of archives, each by its place; their files are fetched a window ahead."""

    images: tuple[WebFile, ...]
    _sessions: local = field(default_factory=local, repr=False)
    """Of each thread."""
    _down: Event = field(default_factory=Event, repr=False)
    """An archive was tried for long and in vain: until it answers, once is enough."""

    def windows(self, places: Sequence[int], size: int) -> Generator[Window, None, None]:
        """As `Source` says: on the disk are at most two windows, and the rest of a study.

        Raises:
            DataError: the disk is full.
        """
        parts = [places[at : at + size] for at in range(0, len(places), size)]
        if not parts:
            return
        stop = Event()
        there: set[int] = set()
        with ThreadPoolExecutor(CONNECTIONS, "retrieve") as pool:
            try:
                ahead = self._begin(pool, parts[0], stop)
                for part, following in zip(parts, [*parts[1:], []], strict=True):
                    under_way, ahead = ahead, self._begin(pool, following, stop)
                    errors = self._errors(part, under_way)
                    there.update(part)
                    yield Window(part, [str(self.images[place].file) for place in part], errors)
                    there -= self._remove(there, following)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
                self._remove(places, [])

    def ids(self, place: int) -> InstanceIds:
        """As `Source` says."""
        study, series, instance, lateral = self.images[place].image
        return InstanceIds(study, series, instance, "", "", "", lateral)

    def part(self, places: Sequence[int]) -> "WebImages":
        """As `Source` says."""
        return replace(self, images=tuple(self.images[place] for place in places))

    def _begin(
        self, pool: ThreadPoolExecutor, places: Sequence[int], stop: Event
    ) -> "list[Future[str]]":
        return [pool.submit(self._retrieve, place, stop) for place in places]

    def _errors(self, places: Sequence[int], futures: "Sequence[Future[str]]") -> dict[int, str]:
        try:
            said = [future.result() for future in futures]
        except OSError as error:
            raise DataError(
                f"{error.filename}: {error.strerror}: images on their way are kept among the "
                "temporary files (TMPDIR)"
            ) from None
        return {place: why for place, why in zip(places, said, strict=True) if why}

    def _retrieve(self, place: int, stop: Event) -> str:
        """Fetch an image; why it cannot be had, or nothing."""
        access, image, file = self.images[place]
        session: requests.Session = self._sessions.__dict__.setdefault(access.url, access.session())
        waits = () if self._down.is_set() else WAITS
        try:
            patiently(
                lambda: retrieve_image(access, session, image, file, stop),
                waits,
                stop.wait,
            )
        except RetrievalStoppedError:
            return "stopped"
        except TransientError as error:
            self._down.set()
            return str(error)
        except DestinationError as error:
            return str(error)
        self._down.clear()
        return ""

    def _session(self, access: DicomWebAccess) -> requests.Session:
        """This thread's session with an archive."""
        mine: dict[str, requests.Session] = self._sessions.__dict__
        if access.url not in mine:
            mine[access.url] = access.session()
        return mine[access.url]

    def _remove(self, places: "Sequence[int] | set[int]", following: Sequence[int]) -> set[int]:
        """Remove files, but those of the study that continues; the places whose files are gone."""
        kept = self.images[following[0]].image.study if following else None
        gone = {place for place in places if self.images[place].image.study != kept}
        for place in gone:
            with suppress(OSError):
                self.images[place].file.unlink(missing_ok=True)
        return gone
