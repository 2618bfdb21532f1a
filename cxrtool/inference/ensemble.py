"""Images to rows of probabilities and decisions: decoding, several engines, and their mean."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import worker_count
from cxrtool.core.errors import UsageError, first_few
from cxrtool.data.logits import mean_logits
from cxrtool.data.prediction_rows import Row, decide, judge
from cxrtool.evaluation.decisions import contradiction
from cxrtool.images.blanks import SEPARATOR
from cxrtool.images.decoding import VIEWS, Decoded, ImageSizes, decode_batches
from cxrtool.inference.scorer import Scorer, Scores


@dataclass(frozen=True, kw_only=True)
class ScoredImage:
    """What came of one image."""

    index: int
    """Among the files."""
    row: Row
    pixels: NDArray[np.uint8] | None
    """What the first model saw, (image_size, image_size); None where the file was unreadable."""


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """One model or several of the same labels: the mean of their probabilities."""

    members: tuple[Scorer, ...]
    tta: bool = False

    def __post_init__(self) -> None:
        first = self.members[0]
        for other in self.members[1:]:
            missing = sorted(set(first.labels) ^ set(other.labels))
            if missing:
                raise UsageError(
                    f"{first.name} and {other.name} do not have the same labels "
                    f"({first_few(missing)}): an ensemble needs that"
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """The first model's, in its order."""
        return self.members[0].labels

    @property
    def name(self) -> str:
        """The models' names."""
        return " + ".join(member.name for member in self.members)

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Each label's: the mean of the models' own; none where one of them has none."""
        found: dict[str, float | None] = {}
        for label in self.labels:
            limits = [member.thresholds[label] for member in self.members]
            known = [limit for limit in limits if limit is not None]
            found[label] = sum(known) / len(limits) if len(known) == len(limits) else None
        return found

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Of each label with two certified thresholds both of them; none of several models.

        What is certified is a model's own scores: not their mean with others', nor with those of
        other views of the image.
        """
        return {} if len(self.members) > 1 or self.tta else self.members[0].limits

    @property
    def promises(self) -> tuple[str, ...]:
        """What is promised of the thresholds, in words; nothing of several models, or views."""
        return () if len(self.members) > 1 or self.tta else self.members[0].promises

    @property
    def lost_promises(self) -> bool:
        """Whether a model's thresholds are certified, but not for such scores."""
        return not self.promises and any(member.promises for member in self.members)

    @property
    def without_verdict(self) -> dict[str, str]:
        """Why labels have no verdict, where others have."""
        triage = self.members[0].triage
        return dict(triage.without) if self.judges and triage is not None else {}

    @property
    def judges(self) -> bool:
        """Whether rows have verdicts."""
        return bool(self.limits)

    def judged(self, scores: Sequence[float], warning: str) -> tuple[str, ...] | None:
        """The verdicts of an image's row; None where the model has none to give."""
        if not self.judges:
            return None
        found = judge(scores, self.labels, self.limits, warning)
        return tuple(f"{label}:{verdict}" for label, verdict in found.items())

    @property
    def without(self) -> dict[str, str]:
        """Why labels have no threshold, or one that says little: what the first such model says."""
        found: dict[str, str] = {}
        for member in self.members:
            name = f"{member.name}: " if len(self.members) > 1 else ""
            for label, why in member.without.items():
                found.setdefault(label, f"{name}{why}")
        return found

    @property
    def description(self) -> str:
        """What it computes with, in words."""
        ways = dict.fromkeys(member.description for member in self.members)
        several = "" if len(self.members) == 1 else f"the mean of {len(self.members)} models: "
        return f"{several}{self.name} ({', '.join(ways)}{', five views an image' * self.tta})"

    @property
    def batch(self) -> int:
        """Images in a batch, where nobody asks for another number."""
        return min(member.engine.batch for member in self.members)

    def batch_of(self, asked: int | None) -> int:
        """Images in a batch, of which each is scored in several views or in one."""
        return max((asked or self.batch) // len(self.views), 1)

    @property
    def views(self) -> tuple[tuple[float, float], ...]:
        """How each image is seen: degrees and scale."""
        return VIEWS if self.tta else VIEWS[:1]

    def score(
        self,
        names: Sequence[str],
        files: Sequence[Path | str],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[ScoredImage]:
        """Score files, in their order, decoding while the networks compute.

        What is kept in memory are a few batches, however many files there are. Rows have the
        `names`. Without `batch_size` it is the engine's own; `workers` (one a core) decode.
        """
        batches = decode_batches(
            files,
            list(dict.fromkeys(member.image_sizes for member in self.members)),
            batch=self.batch_of(batch_size),
            workers=worker_count(workers),
            views=self.views,
        )
        depth = max(member.engine.depth for member in self.members)
        waiting: deque[tuple[list[Decoded], Callable[[], Scores]]] = deque()
        for batch in batches:
            waiting.append((batch, self._submit(batch)))
            if len(waiting) > depth - 1:
                yield from self._scored(names, *waiting.popleft())
        yield from chain.from_iterable(self._scored(names, *one) for one in waiting)

    def _submit(self, batch: list[Decoded]) -> Callable[[], Scores]:
        """Begin to score a batch: of its good images, when it is fetched."""
        good = [one for one in batch if one.pixels]
        if not good:
            nothing = np.zeros((0, len(self.labels)))
            return lambda: Scores(nothing, nothing)
        inputs: dict[ImageSizes, NDArray[np.uint8]] = {
            image_sizes: np.concatenate([one.pixels[image_sizes] for one in good])
            for image_sizes in good[0].pixels
        }
        pending = [member.submit(inputs[member.image_sizes]) for member in self.members]
        return lambda: self._mean([fetch() for fetch in pending], len(good))

    def _mean(self, scores: list[Scores], images: int) -> Scores:
        """The mean of the members' probabilities, and its log odds."""
        if len(scores) == 1 and len(scores[0].shown) == images:
            return scores[0]
        total = np.zeros((images, len(self.labels)))
        logits = []
        for member, found in zip(self.members, scores, strict=True):
            order = [member.labels.index(label) for label in self.labels]
            total += found.shown.reshape(images, -1, len(order)).mean(axis=1)[:, order]
            logits.append(found.logits[:, order])
        views = np.repeat(np.arange(images), len(self.views))
        groups = np.tile(views, len(scores))
        return Scores(total / len(scores), mean_logits(np.concatenate(logits), groups, images))

    def _scored(
        self, names: Sequence[str], batch: list[Decoded], fetch: Callable[[], Scores]
    ) -> Iterator[ScoredImage]:
        fetched = fetch()
        scores = iter(zip(fetched.shown.tolist(), fetched.logits.tolist(), strict=True))
        first = self.members[0].image_sizes
        for one in batch:
            found, logits = next(scores) if one.pixels else (None, None)
            row = self._row(names[one.index], one, found, logits)
            pixels = one.pixels[first][0] if one.pixels else None
            yield ScoredImage(index=one.index, row=row, pixels=pixels)

    def _row(
        self, name: str, image: Decoded, scores: list[float] | None, logits: list[float] | None
    ) -> Row:
        """An image's row, with what is decided of it; without scores, why there are none."""
        if scores is None or logits is None:
            nothing = () if self.judges else None
            return Row(
                path=name,
                scores=None,
                warning=image.warning,
                error=image.error,
                verdicts=nothing,
            )
        positive = decide(scores, self.labels, self.thresholds, image.warning)
        return Row(
            path=name,
            scores=tuple(scores),
            logits=tuple(logits),
            positive=positive,
            warning=SEPARATOR.join(filter(None, (image.warning, contradiction(positive)))),
            error=image.error,
            verdicts=self.judged(scores, image.warning),
        )
