"""The page of an evaluation: one HTML file that loads nothing else, with no network and no script.

What is known is put into words and rows by the modules beside this one; the templates hold the
prose that never changes, a file for each section of the page.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cxrtool import __version__
from cxrtool.core.errors import counted
from cxrtool.core.files import whole_file
from cxrtool.core.numbers import (
    Estimate,
    change,
    interval,
    number,
    percent,
    published,
    threshold_text,
)
from cxrtool.core.origin import BANNER
from cxrtool.evaluation.intervals import LEAST_PATIENTS
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.reports.answer import answer_of
from cxrtool.reports.card import Card
from cxrtool.reports.checklists import read_checklists
from cxrtool.reports.failures import MOST
from cxrtool.reports.flow_picture import draw_flow
from cxrtool.reports.group_rows import subgroup_table
from cxrtool.reports.pictures import embed_pictures
from cxrtool.reports.precision import half_width, precision_of
from cxrtool.reports.published import other_sets, side_by_side
from cxrtool.reports.summary import level_text, summary_of
from cxrtool.reports.truth_words import truth_words
from cxrtool.reports.underdiagnosis import underdiagnosis_of

SECTIONS = {
    "protocol": "Protocol",
    "cohort": "Who was scored",
    "results": "Results",
    "point": "Thresholds and calibration",
    "calibration": "Calibration",
    "net_benefit": "Net benefit",
    "figures": "Figures",
    "readers": "Human readers",
    "robustness": "Robustness",
    "subgroups": "Subgroups",
    "failures": "Failures",
    "precision": "What this part can resolve",
    "published": "Published results",
    "card": "Model card",
    "checklists": "Checklists",
    "how": "How it was computed",
}
"""What the page can have, in its order: the headings' ids, and what they are called."""
CHECKLISTS_PLACE = Markup("<!-- checklists -->")
"""Where they go: nothing else on a page is a comment, and what is not ours is escaped."""
STRIP = 100
"""The width in pixels of the line that an AUROC's dot stands on."""


def render_report(result: EvaluationResult, card: Card, figures: Mapping[str, Path]) -> str:
    """Make the whole page of one evaluation; the same arguments give the same text.

    `figures` are PNG files by their captions, in the order of the page.

    Raises:
        DataError: figures that are missing or are no PNG.
    """
    environment = _environment()
    context = _context(result, card) | {"pictures": embed_pictures(figures)}
    # Of what may be missing, a section is there where there is something for it.
    there = {id: title for id, title in SECTIONS.items() if context.get(id, True)}
    if not figures:
        del there["figures"]
    page = environment.get_template("report.html.j2").render(
        **context, sections=there, checklists_place=CHECKLISTS_PLACE
    )
    # Which items are answered hangs on what the page has come to hold.
    lists = environment.get_template("checklists.html.j2").render(
        checklists=read_checklists(), places=_places(page, card)
    )
    return page.replace(CHECKLISTS_PLACE, lists)


def _places(page: str, card: Card) -> set[str]:
    """The ids of a page's places that say something."""
    about = {name: getattr(card, name) for name in ("data", "recipe", "environment", "compute")}
    unknown = {name for name, values in about.items() if not any(values.values())}
    return set(re.findall(r' id="([^"]+)"', page)) - unknown


def _context(result: EvaluationResult, card: Card) -> dict[str, object]:
    """What the templates read beside the result itself."""
    aurocs = [one.auroc for one in result.labels.values()]
    point = result.operating_point
    return {
        "result": result,
        "protocol": result.protocol,
        "readers": result.readers,
        "robustness": result.robustness,
        "card": card,
        "labels": result.labels,
        "calibration": any(
            one.calibration_intercept.value is not None for one in result.labels.values()
        ),
        "net_benefit": bool(result.decision_curves),
        "summary": summary_of(result),
        "answer": answer_of(result),
        "thing": result.unit,
        "things": "studies" if result.unit == "study" else "images",
        "level": level_text(result.intervals.level if result.intervals else None),
        "uncertain": truth_words(result),
        "rule": point and point.rule,
        "least": LEAST_PATIENTS,
        "with_threshold": any(one.threshold is not None for one in result.labels.values()),
        "drawing": draw_flow(card.flow) if card.flow else None,
        "most_failures": MOST,
        "precision": precision_of(result),
        "half_mean": half_width(result.mean_auroc),
        "axis": _axis_start(aurocs),
        "subgroups": [subgroup_table(result, column) for column in result.subgroups],
        "underdiagnosis": underdiagnosis_of(result),
        "same": side_by_side(result),
        "other": other_sets(result.references.other),
        "versions": {name: text for name, text in card.environment.items() if _is_version(text)},
        "program": __version__,
        "drawn": BANNER if result.data.drawn else "",
    }


def write_report(
    result: EvaluationResult, card: Card, figures: Mapping[str, Path], path: Path
) -> None:
    """Write the page as UTF-8, whole or not at all; takes and raises what `render_report` does."""
    text = render_report(result, card, figures)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cxrtool.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "score": number,
        "threshold": threshold_text,
        "count": "{:,}".format,
        "counted": counted,
        "percent": percent,
        "interval": interval,
        "change": change,
        "published": published,
        "place": place,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    return made


def place(value: float, start: float) -> float:
    """Where a score stands on a line `STRIP` pixels wide from `start` to 1."""
    share = min(1.0, max(0.0, (value - start) / (1 - start)))
    return round(4 + share * (STRIP - 8), 1)


def _axis_start(aurocs: Sequence[Estimate]) -> float:
    """From where AUROCs are drawn: 0.5, or the tenth below the lowest."""
    ends = [end for one in aurocs for end in (one.value, *(one.interval or ())) if end is not None]
    return min(0.5, int(10 * min(ends, default=0.5)) / 10)


def _is_version(text: str) -> bool:
    return re.match(r"v?\d+(\.\d+)+", text) is not None
