"""Images to findings and maps: one image at a time, from a thread of whoever asks."""

import hashlib
import hmac
import secrets
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import CxrToolError, UsageError, unknown_name
from cxrtool.evaluation.decisions import Finding, findings_of
from cxrtool.gui.counters import Counters
from cxrtool.gui.heat_layers import HeatMaps
from cxrtool.gui.model_card import Facts
from cxrtool.images.film import Film, read_film
from cxrtool.images.heat_grid import HeatMap
from cxrtool.images.resizing import squish
from cxrtool.inference.model_facts import ModelFacts
from cxrtool.inference.scorer import Scorer


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model behind the page."""

    scorer: Scorer
    facts: Facts
    """As the page shows them."""
    known: ModelFacts
    """As documents say them."""
    heat: HeatMaps


@dataclass(frozen=True, kw_only=True)
class Looked:
    """An image that was scored."""

    pixels: NDArray[np.uint8]
    """(image_size, image_size): what the network saw."""
    findings: tuple[Finding, ...]
    """The most probable first, and No Finding last."""


class NotScoredError(Exception):
    """An image that could not be scored, and why, for whoever sent it."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Looks at images; safe to be used from several threads."""

    models: tuple[Model, ...]
    """The first is the default."""
    reporter: Reporter = SILENT
    counters: Counters = field(default_factory=Counters)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def model(self, name: str = "") -> Model:
        """A model by its name; without one the default.

        Raises:
            UsageError: there is none of this name.
        """
        if not name:
            return self.models[0]
        for one in self.models:
            if one.scorer.name == name:
                return one
        names = [one.scorer.name for one in self.models]
        raise UsageError(unknown_name("model", name, names))

    def read(self, name: str, content: bytes) -> Film:
        """Decode an image that was sent.

        Raises:
            NotScoredError: it cannot be read.
        """
        try:
            return read_film(name, content)
        except CxrToolError as error:
            raise NotScoredError(_without_name(str(error), name)) from None
        except MemoryError:
            raise NotScoredError("too large for this machine's memory") from None
        except Exception as error:
            raise NotScoredError(self._bug(error, "reading")) from error

    def score(self, model: Model, film: Film) -> Looked:
        """What a model says of an image.

        Raises:
            NotScoredError: it failed.
        """
        scorer, began = model.scorer, time.perf_counter()
        try:
            pixels = squish(film.grey, *scorer.image_sizes)
            scores = scorer(pixels[None])[0].tolist()
        except MemoryError:
            raise NotScoredError("too large for this machine's memory") from None
        except Exception as error:
            raise NotScoredError(self._bug(error, "scoring")) from error
        finally:
            self.counters.scored(time.perf_counter() - began)
        found = findings_of(
            *(scores, scorer.labels, scorer.thresholds, film.warning, scorer.without),
            limits=scorer.limits,
        )
        return Looked(pixels=pixels, findings=found)

    def maps(self, model: Model, looked: Looked, labels: Sequence[str]) -> dict[str, HeatMap] | str:
        """Where the network looked, or why that cannot be said."""
        try:
            return model.heat.maps(looked.pixels, labels)
        except Exception as error:
            return self._bug(error, "the heat maps")

    def study(self, film: Film) -> str:
        """What tells one DICOM study from another while this desk lives, and nothing else."""
        if not film.study:
            return ""
        return hmac.new(self._secret, film.study.encode(), hashlib.sha256).hexdigest()[:16]

    def _bug(self, error: Exception, where: str) -> str:
        """What is said of a fault of ours: others' images go on."""
        message = f"{where} failed ({type(error).__name__}: {error})"
        self.reporter.warn(message)
        self.reporter.detail("".join(traceback.format_exception(error)))
        return message


def _without_name(text: str, name: str) -> str:
    """A message about an image, beside whose name it is shown."""
    return text.removeprefix(f"{name}: ") if name else text.removeprefix(": ")
