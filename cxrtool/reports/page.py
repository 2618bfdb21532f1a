"""The page of an evaluation: one HTML file that loads nothing else, with no network and no script.

What is known is put into words and rows here; the templates hold the prose that never changes.
"""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from jinja2 import ChainableUndefined, Environment, PackageLoader

from cxrtool import __version__
from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.core.files import whole_file
from cxrtool.core.origin import BANNER, DRAWN
from cxrtool.data.labels import NO_FINDING, parse_policy

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
"""What is told of each group, and with how many decimals."""


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


def render_report(result: dict[str, Any], card: Card, figures: Mapping[str, Path]) -> str:
    """Make the whole page of one evaluation; the same arguments give the same text.

    Args:
        result: what `evaluate --json` prints: rates in [0, 1], None where not defined.
        card: what is known of the model and the data.
        figures: the PNG file of each caption, in the order of the page.

    Raises:
        DataError: figures that are missing or are no PNG.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(**_context(result, card), pictures=_pictures(figures))


def _context(result: dict[str, Any], card: Card) -> dict[str, Any]:
    """What the templates read beside the result itself."""
    labels = result.get("labels") or {}
    aurocs = [one.get("auroc") for one in labels.values()]
    lows = [(one.get("auroc_ci") or [None])[0] for one in labels.values()]
    references = result.get("references") or {}
    return {
        "result": result,
        "card": card,
        "labels": labels,
        "summary": summary(result),
        "things": "studies" if result.get("unit") == "study" else "images",
        "level": _level(result),
        "uncertain": _uncertain(result),
        "undefined": [name for name, one in labels.items() if not _known(one.get("auroc"))],
        "axis": _axis_start([*aurocs, *lows]),
        "subgroups": [_subgroup(result, column) for column in result.get("subgroups") or {}],
        "same": _side_by_side(result, reference_sets(references.get("same") or [])),
        "other": reference_sets(references.get("other") or []),
        "versions": {name: text for name, text in card.environment.items() if _is_version(text)},
        "program": __version__,
        "drawn": BANNER if (result.get("data") or {}).get("origin") == DRAWN else "",
    }


def write_report(
    result: dict[str, Any], card: Card, figures: Mapping[str, Path], path: Path
) -> None:
    """Write the page as UTF-8, whole or not at all; takes and raises what `render_report` does."""
    text = render_report(result, card, figures)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _environment() -> Environment:
    # What a result lacks reads as n/a instead of costing the whole page.
    made = Environment(
        loader=PackageLoader("cxrtool.reports"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "score": number,
        "rate": lambda value: number(value, 2),
        "count": count,
        "counted": counted,
        "percent": percent,
        "interval": interval,
        "published": published,
        "place": place,
    }
    made.tests["known"] = _known
    return made


def _known(value: object) -> TypeGuard[float]:
    """Whether it is a number at all: neither None nor NaN, and not missing."""
    return isinstance(value, int | float) and value == value


def number(value: Any, digits: int = 3) -> str:
    """A score: `n/a` where it is not defined; a zero has no sign."""
    return f"{value:z.{digits}f}" if _known(value) else "n/a"


def count(value: Any) -> str:
    """A whole number with a comma between thousands."""
    return f"{value:,.0f}" if _known(value) else "n/a"


def percent(value: Any) -> str:
    """A share in [0, 1] as `12.3 %`."""
    return f"{100 * value:.1f} %" if _known(value) else "n/a"


def interval(ends: Any, digits: int = 3, between: str = "\N{EN DASH}") -> str:
    """Two ends, or nothing where there are none."""
    if not isinstance(ends, Sequence) or len(ends) != 2 or not all(map(_known, ends)):
        return ""
    return between.join(number(end, digits) for end in ends)


def published(value: Any) -> str:
    """Somebody else's score with the decimals that it was given with: two or three."""
    return re.sub(r"(\.\d\d)0$", r"\1", number(value)) if _known(value) else "n/a"


def place(value: float, start: float) -> float:
    """Where a score stands on a line `STRIP` pixels wide from `start` to 1."""
    share = min(1.0, max(0.0, (value - start) / (1 - start)))
    return round(4 + share * (STRIP - 8), 1)


def _axis_start(values: Sequence[Any]) -> float:
    """From where AUROCs are drawn: 0.5, or the tenth below the lowest."""
    lowest = min((value for value in values if _known(value)), default=0.5)
    return min(0.5, int(10 * lowest) / 10)


def _is_version(text: str) -> bool:
    return re.match(r"v?\d+(\.\d+)+", str(text)) is not None


def _level(result: dict[str, Any]) -> str:
    level = (result.get("intervals") or {}).get("level")
    return f"{100 * level:.3g} %" if _known(level) else ""


def summary(result: dict[str, Any]) -> str:
    """The page in a sentence: mean AUROC, over how many labels, images and patients."""
    all_labels, defined = len(result.get("labels") or {}), result.get("defined") or 0
    over = counted(result.get("n") or 0, result.get("unit") or "image")
    if _known(result.get("patients")):
        over += f" of {counted(result['patients'], 'patient')}"
    if not _known(result.get("mean_auroc")):
        return f"No AUROC is defined: 0 of {counted(all_labels, 'label')}, {over}."
    ends = interval(result.get("mean_auroc_ci"), between=" to ")
    told = f" ({_level(result)} interval {ends})" if ends else ""
    labels = f"{defined} of {all_labels} labels" if all_labels > 1 else "1 label"
    return f"Mean AUROC {number(result['mean_auroc'])}{told} over {labels}, {over}."


def _uncertain(result: dict[str, Any]) -> str:
    """What a label called uncertain counts as in the truth, in words."""
    policy = (result.get("protocol") or {}).get("uncertainty")
    labels = list(result.get("labels") or {})
    if not policy:
        return "It is not known what labels called uncertain count as."
    try:
        policies = parse_policy(policy, labels)
    except UsageError:
        return f"Labels called uncertain follow the policy {policy}."
    meanings: dict[str, list[str]] = {}
    for label, name in policies.items():
        meanings.setdefault(COUNTS_AS.get(name, ""), []).append(label)
    told: list[str] = []
    for meaning, of in sorted(meanings.items(), key=lambda item: len(item[1])):
        whom = "" if len(meanings) == 1 else f" for {', '.join(of)}"
        if len(told) == len(meanings) - 1 and told:
            whom = " for every other label"
        told.append((f"count as {meaning}" if meaning else "are left out") + whom)
    sentence = f"Labels called uncertain {'; they '.join(told)} (policy {policy})."
    blank = (result.get("protocol") or {}).get("blank")
    if set(policies.values()) == {"zeros"} and blank == "zeros" and NO_FINDING in labels:
        sentence += f" What is left without any positive counts as {NO_FINDING}."
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


def _subgroup(result: dict[str, Any], column: str) -> dict[str, Any]:
    """One column's groups, label by label, with the rows that any group has a figure for."""
    told = result["subgroups"][column]
    groups = told.get("groups") or {}
    cells = [cell for group in groups.values() for cell in (group.get("labels") or {}).values()]
    # AUROC always has a row; the two rates only where an operating point was chosen.
    rates = {
        key: rate
        for key, rate in RATES.items()
        if key == "auroc" or any(_known(cell.get(key)) for cell in cells)
    }
    gaps = told.get("gaps") or {}
    return {
        "column": column,
        "groups": groups,
        "rates": rates,
        "rows": _group_rows(result.get("labels") or {}, told),
        "largest": {key: _largest(gaps, key) for key in rates},
        "few": sum(bool(cell.get("too_few")) for cell in cells),
        "cells": len(cells),
    }


def _group_rows(labels: dict[str, Any], told: dict[str, Any]) -> list[dict[str, Any]]:
    groups, gaps = (told.get("groups") or {}).values(), told.get("gaps") or {}
    within = told.get("within") or {}
    rows = []
    for label, overall in labels.items():
        cells = [(group.get("labels") or {}).get(label) or {} for group in groups]
        # Among groups that are too small, the difference is chance.
        large = sum(not cell.get("too_few", True) for cell in cells)
        rows.append(
            {
                "label": label,
                "cells": cells,
                "overall": _as_a_group(overall),
                "gaps": gaps.get(label) or {},
                "within": within.get(label),
                "below": below(overall, within.get(label)) if large > 1 else None,
            }
        )
    return rows


def _as_a_group(overall: dict[str, Any]) -> dict[str, Any]:
    """All images as if they were one more group: FPR is 1 - specificity."""
    specificity, ends = overall.get("specificity"), overall.get("specificity_ci") or ()
    return {
        **overall,
        "tpr": overall.get("sensitivity"),
        "tpr_ci": overall.get("sensitivity_ci"),
        "fpr": 1 - specificity if _known(specificity) else None,
        "fpr_ci": [1 - end for end in reversed(ends)] if interval(ends) else None,
    }


def below(overall: dict[str, Any], within: Any) -> float | None:
    """How far the AUROC within groups is under the overall one; None where not clearly."""
    auroc, ends = overall.get("auroc"), overall.get("auroc_ci")
    if not _known(auroc) or not _known(within) or auroc - within < CLEARLY_BELOW:
        return None
    # Inside its own interval the overall AUROC could be the one within groups by chance.
    return None if ends and interval(ends) and within >= ends[0] else auroc - within


def _largest(gaps: dict[str, Any], key: str) -> tuple[str, dict[str, Any]] | None:
    """The label with the largest gap, and that gap."""
    known = {label: (of or {}).get(key) for label, of in gaps.items()}
    found = {label: gap for label, gap in known.items() if gap and _known(gap.get("gap"))}
    return max(found.items(), key=lambda item: item[1]["gap"]) if found else None


def reference_sets(references: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """References that one source gives of one model under one protocol, together."""
    same = ("name", "source", "where", "year", "protocol", "why")
    sets: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in references:
        key = tuple(one.get(name) for name in same)
        made = sets.setdefault(key, {**dict(zip(same, key, strict=True)), "what": [], "values": []})
        made["values"].append(one)
        parts = (one.get("what") or "").split("; ")
        made["what"] += [part for part in parts if part and part not in made["what"]]
    return list(sets.values())


def _side_by_side(result: dict[str, Any], sets: list[dict[str, Any]]) -> dict[str, Any]:
    """References of the same protocol beside this model: a row a label, the means last."""
    labels = result.get("labels") or {}
    keys: dict[tuple[Any, Any], None] = {}
    for value in (value for one in sets for value in one["values"]):
        keys[(value.get("label"), _how_many(value))] = None
    order = {label: rank for rank, label in enumerate(labels)}
    rows = []
    for label, many in sorted(
        keys, key=lambda key: (key[0] is None, order.get(key[0], len(order)))
    ):
        found = [_value_of(one, label, many) for one in sets]
        own = labels.get(label, {}) if label is not None else _own_mean(result, many)
        rows.append({"label": label, "labels": many, "own": own, "values": found})
    return {"sets": sets, "rows": rows}


def _how_many(reference: dict[str, Any]) -> Any:
    """Over how many labels a reference is a mean; None where it is one label's."""
    labels = reference.get("labels")
    if reference.get("label") is not None:
        return None
    return len(labels) if isinstance(labels, list | tuple) else labels


def _value_of(one: dict[str, Any], label: Any, many: Any) -> dict[str, Any] | None:
    of = (value for value in one["values"] if value.get("label") == label)
    return next((value for value in of if _how_many(value) == many), None)


def _own_mean(result: dict[str, Any], many: Any) -> dict[str, Any]:
    """This model's mean over the same labels; nothing where it has none.

    Means of five labels are those of CheXpert's competition, and of no other five.
    """
    of_five = result.get("competition") or {}
    mean = of_five if many == len(of_five.get("labels") or ()) else result
    whole = len(mean.get("labels") or ()) == mean.get("defined") == many
    return {"auroc": mean.get("mean_auroc"), "auroc_ci": mean.get("mean_auroc_ci")} if whole else {}
