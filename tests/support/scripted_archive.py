"""An archive as QIDO-RS and WADO-RS see it, small enough to do what a test wants."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from tests.support.scripted_web import Reply, scripted_web
from tests.support.studies import as_bytes

JSON = {"Content-Type": "application/dicom+json"}
LEVELS = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID"}
BOUNDARY = "aB-1.9"


@dataclass
class ScriptedArchive:
    """Images, and how the archive behaves."""

    images: list[Dataset]
    most: int = 1000
    """Results of one answer."""
    pages: bool = True
    """Whether it knows `offset`."""
    filters: bool = True
    """Whether it looks at keys."""
    syntaxes: bool = True
    """Whether it takes `transfer-syntax=*`."""
    single: bool = False
    """Whether it gives an image without parts."""
    faults: dict[str, list[Reply | None]] = field(default_factory=dict)
    """What is answered in place of instances, by their UIDs, one after the other; what precedes
    the last is answered once."""
    found: Reply | None = None
    """What is answered to every search in place of results."""

    def answer(self, request):
        parts = request.path.removeprefix("/dicom-web/").split("/")
        if len(parts) % 2 == 0:
            return self._image(request, parts[-1])
        if self.found is not None:
            return self.found
        level = LEVELS.get(parts[-1], "SOPInstanceUID")
        above = {LEVELS[kind]: uid for kind, uid in zip(parts[::2], parts[1::2], strict=False)}
        keys = {
            key: values[0]
            for key, values in request.query.items()
            if key not in ("includefield", "offset", "ModalitiesInStudy") and self.filters
        }
        results = {}
        for image in self.images:
            if all(str(image.get(key)) == value for key, value in (above | keys).items()):
                results.setdefault(str(image[level].value), self._entry(image))
        offset = int(request.query.get("offset", ["0"])[0]) if self.pages else 0
        body = list(results.values())[offset : offset + self.most]
        return Reply(200, json.dumps(body).encode(), JSON) if body else Reply(204)

    def _entry(self, image):
        keywords = (*LEVELS.values(), "SOPInstanceUID", "SOPClassUID", "Modality", "StudyDate")
        return {
            f"{tag_for_keyword(keyword):08X}": {"Value": [str(image.get(keyword))]}
            for keyword in (*keywords, "ViewPosition")
            if image.get(keyword)
        }

    def _image(self, request, uid):
        if faults := self.faults.get(uid):
            return faults.pop(0) if len(faults) > 1 else faults[0]
        if "transfer-syntax" in request.headers["accept"] and not self.syntaxes:
            return Reply(406)
        for image in self.images:
            if image.SOPInstanceUID == uid:
                content = as_bytes(image)
                if self.single:
                    return Reply(200, content, {"Content-Type": "application/dicom"})
                return multipart(content)
        return Reply(404)


def multipart(content, boundary=BOUNDARY, **options):
    """A file as the one part of an answer."""
    body = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body += content + f"\r\n--{boundary}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return Reply(200, body, {"Content-Type": kind}, **options)


@contextmanager
def scripted_archive(*images, **behaviour):
    """An archive that runs: how it behaves, and its server."""
    archive = ScriptedArchive(list(images), **behaviour)
    with scripted_web(archive.answer) as web:
        yield archive, web
