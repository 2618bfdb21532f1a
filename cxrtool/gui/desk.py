"""Images that were dropped to parts of the page: each is read, removed, scored, and explained."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import CxrToolError
from cxrtool.evaluation.decisions import findings_of
from cxrtool.gui.answers import (
    Answer,
    Item,
    answer_html,
    failed_html,
    maps_html,
    queue_html,
    shown_name,
)
from cxrtool.gui.heat_layers import HeatMaps
from cxrtool.gui.uploads import Uploads
from cxrtool.images.reading import read_sent
from cxrtool.images.resizing import squish
from cxrtool.inference.scorer import Scorer


class Desk:
    """Looks at images; safe to be used from several threads."""

    def __init__(
        self, scorer: Scorer, heat: HeatMaps, uploads: Uploads, reporter: Reporter = SILENT
    ) -> None:
        self.scorer, self.heat, self.uploads, self.reporter = scorer, heat, uploads, reporter

    def look_at(self, paths: Sequence[str]) -> Iterator[str]:
        """The page's parts for images that wait: a text that grows until all is said.

        First the list of the images, then each one's findings, then each one's maps. No image is
        on the disk any more when its findings are there.
        """
        text = ""
        if not self.uploads.somebody_listens(paths):
            for path in paths:
                self.uploads.drop(path)
            return  # an answer that nobody hears would be kept
        for part in self._parts(paths):
            text += part
            yield text

    def _parts(self, paths: Sequence[str]) -> Iterator[str]:
        with ExitStack() as left:
            for path in paths:
                left.callback(self.uploads.drop, path)  # also when nobody waits for the rest
            items = [Item(name=shown_name(self.uploads.name_of(path))) for path in paths]
            yield queue_html(items)
            answers = []
            for path, item in zip(paths, items, strict=True):
                found = self._findings(path, item)
                if isinstance(found, Answer):
                    answers.append(found)
                    yield answer_html(found, self.heat.absent)
                else:
                    yield failed_html(item, found)
            if not self.heat.absent:
                yield from map(self._maps, answers)

    def _findings(self, path: str, item: Item) -> Answer | str:
        """An image with its findings, or why there are none."""
        try:
            with self.uploads.take(path) as upload:
                content = upload.read()
            grey, warning = read_sent(path, content)
            pixels = squish(grey, *self.scorer.image_sizes)
            scores = self.scorer(pixels[None])[0]
        except CxrToolError as error:
            return _without_path(str(error), path)
        except MemoryError:
            return "too large for this machine's memory"
        except Exception as error:
            return self._bug(error, "scoring")
        return Answer(
            item=item,
            grey=grey,
            pixels=pixels,
            warning=warning,
            findings=findings_of(
                scores.tolist(),
                self.scorer.labels,
                self.scorer.thresholds,
                warning,
                self.scorer.without,
            ),
        )

    def _maps(self, answer: Answer) -> str:
        try:
            layers = self.heat.layers(answer.pixels, [one.label for one in answer.findings])
        except Exception as error:
            layers = self._bug(error, "the heat maps")
        return maps_html(answer, layers)

    def _bug(self, error: Exception, where: str) -> str:
        """What a reader of the page is told of a fault of ours: others' images go on."""
        told = f"{where} failed ({type(error).__name__}: {error})"
        self.reporter.warn(told)
        self.reporter.detail(traceback.format_exc())
        return told


def _without_path(text: str, path: str) -> str:
    """A message about a file, without a name that its sender never gave it."""
    return text.removeprefix(f"{path}: ").replace(path, "the image")
