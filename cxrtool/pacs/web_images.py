"""The images of a search in an archive as inputs of `predict`: fetched while others are scored."""

from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, local

import requests

from cxrtool.core.config import PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.inference.inputs import Described, Inputs
from cxrtool.inference.sources import DICOMWEB, Window
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.dicomweb_access import DicomWebAccess, dicomweb_access
from cxrtool.pacs.dicomweb_query import EXAMPLE, Query
from cxrtool.pacs.dicomweb_retrieval import RetrievalStoppedError, retrieve_image
from cxrtool.pacs.dicomweb_search import WebImage, find_images
from cxrtool.pacs.retries import WAITS, patiently
from cxrtool.pacs.trust import check_tls, is_https, trust_of

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
    check_tls(config, [is_https(url) for url in urls])
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
    found: list[tuple[DicomWebAccess, WebImage]] = []
    passed_over: Counter[str] = Counter()
    for access in archives:
        with reporter.busy(f"asking {access.name}"):
            result = find_images(access, queries)
        for key in result.ignored:
            reporter.warn(
                f"{access.name} says {key} of no image that it found: it may not search by it"
            )
        found += [(access, image) for image in result.images]
        passed_over += result.passed_over
    if not found:
        others = Inputs([], [], passed_over).others()
        raise DataError(
            f"{first_few([one.name for one in archives])}: no image fits --query, understood as "
            + "; or as ".join(str(query) for query in queries)
            + f"; {others}" * bool(others)
        )
    studies = len({image.study for _, image in found})
    reporter.note(f"found {counted(len(found), 'image')} of {counted(studies, 'study')}")
    names = [image.name for _, image in found]
    described = {
        image.name: Described(image.study, image.view, image.instance) for _, image in found
    }
    return Inputs(names, names, passed_over, described, WebImages(tuple(found), folder))


@dataclass(frozen=True)
class WebImages:
    """Images of archives, each by its place; their files are fetched a window ahead."""

    images: tuple[tuple[DicomWebAccess, WebImage], ...]
    folder: Path
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
                    yield Window(part, [str(self._file(place)) for place in part], errors)
                    there -= self._remove(there, following)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
                self._remove(places, [])

    def part(self, places: Sequence[int]) -> "WebImages":
        """As `Source` says."""
        return replace(self, images=tuple(self.images[place] for place in places))

    def _file(self, place: int) -> Path:
        return self.folder / f"{place}.dcm"

    def _begin(
        self, pool: ThreadPoolExecutor, places: Sequence[int], stop: Event
    ) -> "list[Future[str]]":
        return [pool.submit(self._retrieve, place, stop) for place in places]

    def _errors(self, places: Sequence[int], futures: "Sequence[Future[str]]") -> dict[int, str]:
        try:
            said = [future.result() for future in futures]
        except OSError as error:
            raise DataError(
                f"{error.filename or self.folder}: {error.strerror}: images on their way are kept "
                "among the temporary files (TMPDIR)"
            ) from None
        return {place: why for place, why in zip(places, said, strict=True) if why}

    def _retrieve(self, place: int, stop: Event) -> str:
        """Fetch an image; why it cannot be had, or nothing."""
        access, image = self.images[place]
        session: requests.Session = self._sessions.__dict__.setdefault(access.url, access.session())
        waits = () if self._down.is_set() else WAITS
        try:
            patiently(
                lambda: retrieve_image(access, session, image, self._file(place), stop),
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
        kept = self.images[following[0]][1].study if following else None
        gone = {place for place in places if self.images[place][1].study != kept}
        for place in gone:
            with suppress(OSError):
                self._file(place).unlink(missing_ok=True)
        return gone
