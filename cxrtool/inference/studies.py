"""Images as studies: which belong together, and one row of a study's frontal images."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cxrtool.core.config import worker_count
from cxrtool.core.errors import counted, first_few
from cxrtool.data.prediction_rows import OF_STUDY, Row, decide
from cxrtool.evaluation.decisions import contradiction
from cxrtool.evaluation.sample import combine_scores
from cxrtool.images.blanks import SEPARATOR, undecidable
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.inputs import Inputs
from cxrtool.inference.more_columns import joined

LATERAL = "lateral"
CHEXPERT = re.compile(r"(?P<study>.*\bstudy\d+)[/\\]view\d+_(?P<view>frontal|lateral)\.\w+$")
"""How CheXpert names its images."""


class Place(NamedTuple):
    """Which study an image is of, and whether it is a lateral view."""

    study: str
    lateral: bool
    known: bool = True
    """Whether something says which study it is; else it is one of its own."""


class Study(NamedTuple):
    """The images of a study."""

    name: str
    frontal: tuple[int, ...]
    """By their places among all frontal images, one after the other."""
    laterals: int
    """Images that are left out."""


@dataclass(frozen=True)
class Studies:
    """All studies of the inputs, in the order of their first images."""

    studies: tuple[Study, ...]
    frontal: Inputs
    """The images that are scored, study by study."""
    alone: int
    """Images of which nothing says which study they are of."""

    @property
    def laterals(self) -> int:
        """Images that are left out."""
        return sum(one.laterals for one in self.studies)

    def told(self) -> str:
        """What is scored and what is left out, in words."""
        found = [counted(len(self.studies), "study"), counted(len(self.frontal), "frontal image")]
        left_out = [f"{counted(self.laterals, 'lateral image')} left out"] if self.laterals else []
        return ", ".join(found + left_out)

    def rows(self, rows: Iterator[Row], ensemble: Ensemble, aggregate: str) -> Iterator[Row]:
        """A row a study, of the rows of its frontal images as they come."""
        for study in self.studies:
            own = [next(rows) for _ in study.frontal]
            yield study_row(study, own, ensemble, aggregate)


def find_studies(images: Inputs, workers: int | None = None) -> Studies:
    """Sort images into studies: by their DICOM headers, their manifest, or CheXpert's names.

    An image of which none of these says it is a study of its own: images that happen to lie in one
    folder may be several patients'.
    """
    with ThreadPoolExecutor(max(worker_count(workers), 1)) as pool:
        places = list(pool.map(lambda at: _place(images, at), range(len(images))))
    found: dict[str, list[int]] = {}
    for at, place in enumerate(places):
        found.setdefault(place.study, []).append(at)
    frontal: list[int] = []
    studies = []
    for name, members in found.items():
        shown = [at for at in members if not places[at].lateral]
        mine = tuple(range(len(frontal), len(frontal) + len(shown)))
        frontal += shown
        studies.append(Study(name, mine, len(members) - len(shown)))
    alone = sum(not place.known for place in places)
    return Studies(tuple(studies), images.part(frontal), alone)


def _place(images: Inputs, at: int) -> Place:
    name = images.names[at]
    if (described := images.described.get(name)) is not None:
        return Place(described.study, described.view == LATERAL)
    if (ids := images.ids(at)) is not None:
        return Place(ids.study or name, bool(ids.lateral), bool(ids.study))
    if (parts := CHEXPERT.match(name)) is not None:
        return Place(parts["study"], parts["view"] == LATERAL)
    return Place(name, lateral=False, known=False)


def study_row(study: Study, rows: Sequence[Row], ensemble: Ensemble, aggregate: str) -> Row:
    """A study's row: its images' probabilities combined, and what is decided of that.

    Images that could not be read, or show nothing, do not count where others do; the row says so.
    Several images' mean is not what thresholds were certified on, so that it has no verdict.

    Args:
        study: whose row it is.
        rows: of its frontal images.
        ensemble: the models whose thresholds decide.
        aggregate: `mean` or `max`.
    """
    more = dict(zip(OF_STUDY, (str(len(rows)), str(study.laterals)), strict=True)) | joined(rows)
    read = [row for row in rows if row.scores is not None]
    sound = [row for row in read if not undecidable(row.warning)] or read
    told = list(dict.fromkeys(row.warning for row in sound if row.warning))
    told += [_left_out(row) for row in rows if row not in sound]
    verdicts = () if ensemble.judges else None
    if not sound:
        why = SEPARATOR.join(dict.fromkeys(row.error for row in rows))
        nothing = f"no frontal image: {counted(study.laterals, 'lateral image')} left out"
        return Row(path=study.name, scores=None, error=why or nothing, verdicts=verdicts, more=more)
    if len(sound) == 1:
        warning = SEPARATOR.join(told)
        return replace(sound[0], path=study.name, warning=warning, more=more)
    values = np.array([row.scores for row in sound], np.float64)
    scores = combine_scores(values, np.zeros(len(sound), np.int64), 1, aggregate)[0].tolist()
    warning = SEPARATOR.join(told)
    positive = decide(scores, ensemble.labels, ensemble.thresholds, warning)
    told += [remark] if (remark := contradiction(positive)) and remark not in told else []
    return Row(
        path=study.name,
        scores=tuple(scores),
        positive=positive,
        warning=SEPARATOR.join(told),
        verdicts=verdicts,
        more=more,
    )


def _left_out(row: Row) -> str:
    return f"one image left out ({row.error or row.warning})"


def unknown_studies(studies: Studies) -> str:
    """What to say of images that name no study; empty where all do."""
    if not studies.alone:
        return ""
    names = [one.name for one in studies.studies if len(one.frontal) == 1]
    return (
        f"{counted(studies.alone, 'image')} do not say which study they are of "
        f"(such as {first_few(names, 1)}): each is a study of its own. DICOMs, a manifest.csv "
        "and CheXpert's folders say it"
    )
