"""STARD's flow: from the rows of the tables, by way of what was left out, to what was scored.

Bossuyt et al. 2015, BMJ 351:h5527, item 19. All numbers are those that `prepare` and `split` wrote
down: what they did not write is not known, and is not guessed.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cxrtool.core.config import SPLITS
from cxrtool.data.shared_pictures import ELSEWHERE, OWNER_ELSEWHERE
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.reports.cohort import Cohort

OF_IMAGES = ("missing image", "broken image", "blank image", ELSEWHERE, OWNER_ELSEWHERE)
"""The problems that `prepare` finds after the tables are read: each costs one image."""
OF_NO_ROW = ("box of no label",)
"""Problems of something else than rows."""
SEVERAL = ("two patients", "reader contradicts", "reader twice")
"""Problems that name an image once, however many rows of it they cost."""
ALL_VIEWS = "all"

_LINE = re.compile(r" line \d+$")


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many there are at one point of the flow; None: not known."""

    rows: int | None
    patients: int | None
    unit: str = "image"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is lost between two points of the flow."""

    total: int | None
    """None: not known."""
    reasons: Mapping[str, int]
    """Why, and how many; together no more than the total."""

    @property
    def unexplained(self) -> int:
        """How many are lost for no reason that was written down."""
        return 0 if self.total is None else self.total - sum(self.reasons.values())


@dataclass(frozen=True, kw_only=True)
class Flow:
    """From the tables to what was scored."""

    listed: Count
    """The rows of the tables, before any was left out."""
    unread: LeftOut
    """Rows that could not be used, and rows that were put together."""
    read: Count
    """What of the tables could be read: one row an image."""
    left_out: LeftOut
    """Images of other views, and those that cannot be used."""
    kept: Count
    """The images of the manifest."""
    parts: Mapping[str, Count]
    """Those of the split; none where it is not known or the data have none."""
    part: str | None
    """The part that was scored; None: all of another data set."""
    scored: Count


def flow_of(cohort: Cohort, result: EvaluationResult) -> Flow:
    """The flow of a data set's images to the rows that an evaluation is of."""
    facts, kept = cohort.facts, _counted(cohort.counts())
    read = Count(rows=facts.get("rows"), patients=facts.get("patients_read"), unit="row")
    unread = _unread(cohort)
    whole = read.rows is not None and unread.total is not None
    there = () if cohort.parts is None else set(cohort.parts)
    return Flow(
        listed=Count(
            rows=(read.rows or 0) + (unread.total or 0) if whole else None,
            patients=read.patients if not unread.total else None,
            unit="row",
        ),
        unread=unread,
        read=read,
        left_out=_left_out(cohort, read, kept),
        kept=kept,
        parts={name: _counted(cohort.counts(name)) for name in SPLITS if name in there},
        part=result.split,
        scored=Count(rows=result.n, patients=result.patients, unit=result.unit),
    )


def _counted(counts: tuple[int, int]) -> Count:
    rows, patients = counts
    return Count(rows=rows, patients=patients)


def _unread(cohort: Cohort) -> LeftOut:
    """Rows that were lost while the tables were read; a line counts once, by its first fault."""
    if cohort.left_out is None:
        return LeftOut(total=None, reasons={})
    seen: set[str] = set()
    reasons: Counter[str] = Counter()
    for kind, where in cohort.left_out:
        if kind in (*OF_IMAGES, *OF_NO_ROW) or where in seen:
            continue
        if _LINE.search(where):
            seen.add(where)
        reasons[kind] += 1
    # Readers' rows become one an image, and how many there were is not written down.
    exact = cohort.facts.get("readers") is None and not set(reasons) & set(SEVERAL)
    return LeftOut(total=reasons.total() if exact else None, reasons=dict(reasons))


def _left_out(cohort: Cohort, read: Count, kept: Count) -> LeftOut:
    """What is not in the manifest of the rows that could be read."""
    if read.rows is None or kept.rows is None:
        return LeftOut(total=None, reasons={})
    reasons = _other_views(cohort, read.rows)
    kinds = Counter(kind for kind, _ in cohort.left_out or ())
    reasons |= {kind: kinds[kind] for kind in OF_IMAGES if kinds[kind]}
    total = read.rows - kept.rows
    # More reasons than rows: the files are not of one `prepare`.
    fits = sum(reasons.values()) <= total
    return LeftOut(total=total, reasons=reasons if fits else {})


def _other_views(cohort: Cohort, rows: int) -> dict[str, int]:
    chosen = str(cohort.facts.get("views", ALL_VIEWS))
    if chosen == ALL_VIEWS:
        return {}
    others = rows - int(dict(cohort.facts.get("view", {})).get(chosen, 0))
    return {f"views other than {chosen}": others} if others else {}
