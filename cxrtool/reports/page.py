"""The page of an evaluation: one HTML file that loads nothing else, with no network and no script.

What is known is put into words and rows here; the templates hold the prose that never changes.
"""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from cxrtool import __version__
from cxrtool.core.errors import DataError, UsageError, counted, first_few, grouped
from cxrtool.core.files import whole_file
from cxrtool.core.numbers import Estimate, interval, number, percent, published
from cxrtool.core.origin import BANNER
from cxrtool.data.labels import NO_FINDING, parse_policy
from cxrtool.evaluation.result import (
    EvaluationResult,
    Gap,
    Gaps,
    GroupScores,
    LabelScores,
    Subgroups,
)
from cxrtool.reports.published import other_sets, side_by_side

COUNTS_AS = {"ones": "positive", "zeros": "negative"}
"""What an uncertain label counts as in the truth; under every other policy it is left out."""
CLEARLY_BELOW = 0.02
"""So far under the overall AUROC (and its interval) is the one within groups worth a word."""
PNG = b"\x89PNG\r\n\x1a\n"
READ_WHOLE = 1000
"""Pixels from which on a picture gets the page's whole width: one of many panels."""
STRIP = 100
"""The width in pixels of the line that an AUROC's dot stands on."""
RATES = {"auroc": ("AUROC", 3), "tpr": ("TPR", 2), "fpr": ("FPR", 2)}
"""The rates of each group, and with how many decimals they are shown."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the page says of the model and the data: of what is empty it says "not known"."""

    title: str
    """The run's name, or the file's."""
    data: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """Versions, device, commit, SHA-256 of weights, manifest and split."""
    command: str | None = None
    """The one that made the page."""


@dataclass(frozen=True)
class Picture:
    """A PNG as it is embedded; width and height in pixels."""

    caption: str
    uri: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether half the page's width would make it too small to read."""
        return self.width >= READ_WHOLE or self.width > 1.35 * self.height


def render_report(result: EvaluationResult, card: Card, figures: Mapping[str, Path]) -> str:
    """Make the whole page of one evaluation; the same arguments give the same text.

    `figures` are PNG files by their captions, in the order of the page.

    Raises:
        DataError: figures that are missing or are no PNG.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(**_context(result, card), pictures=_pictures(figures))


def _context(result: EvaluationResult, card: Card) -> dict[str, object]:
    """What the templates read beside the result itself."""
    aurocs = [one.auroc for one in result.labels.values()]
    point = result.operating_point
    return {
        "result": result,
        "protocol": result.protocol,
        "card": card,
        "labels": result.labels,
        "summary": summary_of(result),
        "thing": result.unit,
        "things": "studies" if result.unit == "study" else "images",
        "level": _level(result.intervals.level if result.intervals else None),
        "uncertain": _uncertain(result),
        "rule": point and point.rule,
        "axis": _axis_start(aurocs),
        "subgroups": [_subgroup(result, column) for column in result.subgroups],
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
        "count": "{:,}".format,
        "counted": counted,
        "percent": percent,
        "interval": interval,
        "published": published,
        "place": place,
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


def _level(level: float | None) -> str:
    return "" if level is None else f"{100 * level:.3g} %"


def summary_of(result: EvaluationResult) -> str:
    """The page in a sentence."""
    return summary(
        result.mean_auroc,
        defined=result.defined,
        labels=len(result.labels),
        n=result.n,
        unit=result.unit,
        patients=result.patients,
        level=result.intervals.level if result.intervals else None,
    )


def summary(
    mean: Estimate,
    *,
    defined: int,
    labels: int,
    n: int,
    unit: str,
    patients: int | None,
    level: float | None,
) -> str:
    """An evaluation in a sentence: mean AUROC, over how many labels, images and patients."""
    over = counted(n, unit) + ("" if patients is None else f" of {counted(patients, 'patient')}")
    if mean.value is None:
        return f"No AUROC is defined: 0 of {counted(labels, 'label')}, {over}."
    ends = interval(mean.interval, between=" to ")
    within = f" ({_level(level)} interval {ends})" if ends else ""
    over_labels = f"{defined} of {labels} labels" if labels > 1 else "1 label"
    return f"Mean AUROC {number(mean.value)}{within} over {over_labels}, {over}."


def _uncertain(result: EvaluationResult) -> str:
    """What a label called uncertain counts as in the truth, in words."""
    protocol, labels = result.protocol, list(result.labels)
    readers = _readers(result)
    try:
        policies = parse_policy(protocol.uncertainty, labels)
    except UsageError:  # it also names labels that the scores have not
        return f"Labels called uncertain follow the policy {protocol.uncertainty}.{readers}"
    meanings = grouped((COUNTS_AS.get(name, ""), label) for label, name in policies.items())
    parts: list[str] = []
    for meaning, of in sorted(meanings.items(), key=lambda item: len(item[1])):
        whom = "" if len(meanings) == 1 else f" for {', '.join(of)}"
        if len(parts) == len(meanings) - 1 and parts:
            whom = " for every other label"
        parts.append((f"count as {meaning}" if meaning else "are left out") + whom)
    sentence = f"Labels called uncertain {'; they '.join(parts)} (policy {protocol.uncertainty})."
    if set(policies.values()) == {"zeros"} and protocol.blank == "zeros" and NO_FINDING in labels:
        sentence += f" What is left without any positive counts as {NO_FINDING}."
    return sentence + readers


def _readers(result: EvaluationResult) -> str:
    """What several readers' labels of an image count as, and what is left out of them."""
    if result.protocol.readers is None:
        return ""
    sentence = f" Where several readers labelled an image: {result.protocol.readers_words}."
    if result.divided:
        sentence += (
            f" Left out are {counted(result.divided, 'label value')} on which they are evenly "
            "divided."
        )
    return sentence


def _pictures(figures: Mapping[str, Path]) -> list[Picture]:
    missing = [str(path) for path in figures.values() if not path.is_file()]
    if missing:
        raise DataError(f"figures of the page are missing: {first_few(missing)}: draw them first")
    bytes_of = {caption: path.read_bytes() for caption, path in figures.items()}
    wrong = [str(figures[caption]) for caption, data in bytes_of.items() if data[:8] != PNG]
    if wrong:
        raise DataError(f"figures of the page are no PNG files: {first_few(wrong)}: draw them anew")
    made = []
    for caption, data in bytes_of.items():
        # A PNG begins with its header, the size first (PNG specification, section 11.2.1).
        width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
        uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
        made.append(Picture(caption, uri, width, height))
    return made


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """One label's figures in each group of a column, and over all rows."""

    label: str
    cells: list[GroupScores]
    overall: LabelScores
    fpr: Estimate
    """1 - specificity over all rows."""
    gaps: Gaps
    within: float | None
    below: float | None
    """How far `within` is clearly under the overall AUROC."""

    def over_all(self, rate: str) -> Estimate:
        """A figure of `RATES` over all rows."""
        return {"auroc": self.overall.auroc, "tpr": self.overall.sensitivity, "fpr": self.fpr}[rate]


def _subgroup(result: EvaluationResult, column: str) -> dict[str, object]:
    """One column's groups, label by label, with the rows that any group has a figure for."""
    of = result.subgroups[column]
    cells = [cell for group in of.groups.values() for cell in group.labels.values()]
    # AUROC always has a row; the two rates only where an operating point was chosen.
    rates = {
        key: rate
        for key, rate in RATES.items()
        if key == "auroc" or any(getattr(cell, key).value is not None for cell in cells)
    }
    return {
        "column": column,
        "groups": of.groups,
        "rates": rates,
        "rows": [_group_row(label, overall, of) for label, overall in result.labels.items()],
        "largest": {key: _largest(of.gaps, key) for key in rates},
        "few": sum(cell.too_few for cell in cells),
        "cells": len(cells),
    }


def _group_row(label: str, overall: LabelScores, of: Subgroups) -> GroupRow:
    cells, within = [group.labels[label] for group in of.groups.values()], of.within[label]
    # Among groups that are too small, the difference is chance.
    large = sum(not cell.too_few for cell in cells)
    specificity = overall.specificity
    ends = specificity.interval and (1 - specificity.interval[1], 1 - specificity.interval[0])
    return GroupRow(
        label=label,
        cells=cells,
        overall=overall,
        fpr=Estimate(None if specificity.value is None else 1 - specificity.value, ends),
        gaps=of.gaps[label],
        within=within,
        below=below(overall.auroc, within) if large > 1 else None,
    )


def below(overall: Estimate, within: float | None) -> float | None:
    """How far the AUROC within groups is under the overall one; None where not clearly."""
    if overall.value is None or within is None or overall.value - within < CLEARLY_BELOW:
        return None
    # Inside its own interval the overall AUROC could be the one within groups by chance.
    inside = overall.interval is not None and within >= overall.interval[0]
    return None if inside else overall.value - within


def _largest(gaps: Mapping[str, Gaps], key: str) -> tuple[str, Gap] | None:
    """The label with the largest gap, and that gap."""
    found = [(label, gap) for label, of in gaps.items() if (gap := getattr(of, key)) is not None]
    return max(found, key=lambda item: item[1].gap, default=None)
