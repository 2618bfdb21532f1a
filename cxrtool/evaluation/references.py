"""Published scores with their sources, and which of them were measured as a run's were."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from cxrtool.core.errors import counted
from cxrtool.core.json_files import JsonResult
from cxrtool.data.labels import COMPETITION_LABELS, policy_name
from cxrtool.evaluation.protocol import NOT_KNOWN, OTHER, PROTOCOLS, Protocol

TABLE = "references.csv"
LABEL_SETS: dict[str, tuple[str, ...]] = {"five": COMPETITION_LABELS}
"""What a published mean is over."""

HERE = {"holdout": "a hold-out of train.csv", "expert": "valid.csv", "test500": "the test studies"}
VIEWS = {"frontal": ("frontal",), "all": ("frontal", "lateral")}
"""Which images of a study were scored."""

LEAST_HOLDOUT = 10_000
"""A tenth of CheXpert is about 19,000 frontal images; fewer than this are no such tenth."""
SAMPLES = {
    "expert": {"study": (200, 200), "image": (200, 234)},
    "test500": {"study": (500, 500), "image": (500, 668)},
}
"""The fewest and the most rows that can be a protocol's whole sample: frontal images alone are
fewer than all images, and every study has one."""

NUMBERS = ("auroc", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published figure, where it stands, and how it was measured.

    The figure is `auroc`, or a range from `low` to `high`. It is one label's, or the mean over
    one of `LABEL_SETS`. `uncertainty` is the policy of the training and, in a hold-out, of the
    truth that the scores were compared with; `blank` is what labels not mentioned became there,
    and None where radiologists gave the truth and the source does not say.
    """

    name: str
    label: str | None
    labels: str | None
    auroc: float | None
    low: float | None
    high: float | None
    protocol: str
    uncertainty: str
    blank: str | None
    split_by: str
    """`patient` or `image` of a hold-out; `official`: the data set's own parts."""
    unit: str
    views: str
    """One of `VIEWS`."""
    data: str
    source: str
    where: str
    """In the source: a table's row or column, a file, a page."""
    year: int
    note: str | None

    @property
    def measured(self) -> tuple[str, ...]:
        """What was measured, in words."""
        views = " and ".join(VIEWS[self.views])
        parts = (
            PROTOCOLS[self.protocol],
            policy_name(self.uncertainty),
            f"split by {self.split_by}" if self.protocol == "holdout" else "",
            f"scored by {self.unit}",
            f"{views} images",
            self.note or "",
        )
        return tuple(part for part in parts if part)

    @property
    def what(self) -> str:
        """The same as one text."""
        return "; ".join(self.measured)

    @property
    def mean_over(self) -> int | None:
        """Over how many labels it is a mean; None where it is one label's."""
        return len(LABEL_SETS[self.labels]) if self.labels else None

    def as_json(self) -> dict[str, Any]:
        """The figure, its source and what was measured; `labels` is how many a mean is over."""
        keys = ("name", "label", "labels", *NUMBERS, "source", "where", "year", "protocol", "what")
        return {key: getattr(self, key) for key in keys} | {"labels": self.mean_over}


@dataclass(frozen=True)
class OtherReference:
    """A figure that was measured otherwise than a run's, with all reasons, in words."""

    reference: Reference
    why: str

    def as_json(self) -> dict[str, Any]:
        """The figure, and why it cannot be compared."""
        return {**self.reference.as_json(), "why": self.why}


@dataclass(frozen=True, kw_only=True)
class References(JsonResult):
    """The published figures beside a run's."""

    same: tuple[Reference, ...] = ()
    """Of the same protocol."""
    other: tuple[OtherReference, ...] = ()


def read_references() -> list[Reference]:
    """The published figures, each with its source, in the order of the table."""
    text = files("cxrtool.evaluation").joinpath(TABLE).read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines(), strict=True):
        fields: dict[str, Any] = {key: value or None for key, value in row.items()}
        fields |= {key: float(row[key]) if row[key] else None for key in NUMBERS}
        found.append(Reference(**fields | {"year": int(row["year"])}))
    return found


def sort_references(
    protocol: Protocol, *, dataset: str, unit: str, rows: int, labels: Sequence[str]
) -> References:
    """Part the published figures into those that were measured as a run's were, and the others.

    A figure of images is none of studies, one of frontal images none of all, and what is not known
    of the run is not taken to be the same.

    Args:
        protocol: of the run.
        dataset: of the run, as `prepare` found it: `chexpert` is the layout, which drawn images
            may have too.
        unit: what was scored, `image` or `study`.
        rows: how many of them.
        labels: of the run. A figure of another label, or a mean over none of these, is left out.
    """
    same, other = [], []
    for reference in read_references():
        of = LABEL_SETS[reference.labels] if reference.labels else [reference.label]
        if not set(of) & set(labels):
            continue
        reasons = [
            *_data_reasons(reference, protocol, dataset, unit, rows),
            *_truth_reasons(reference, protocol),
            *_split_reasons(reference, protocol),
            *_image_reasons(reference, protocol, unit),
        ]
        shared = sum(label in labels for label in of)
        if shared < len(of):
            reasons.append(f"mean over {reference.labels} labels, here {shared} of them")
        if reasons:
            other.append(OtherReference(reference, "; ".join(reasons)))
        else:
            same.append(reference)
    return References(same=tuple(same), other=tuple(other))


def _data_reasons(
    reference: Reference, protocol: Protocol, dataset: str, unit: str, rows: int
) -> list[str]:
    """Whether the run was scored on that protocol's images, and on all of them."""
    wanted, name = PROTOCOLS[reference.protocol], protocol.name
    if dataset != "chexpert":
        return [f"CheXpert's {wanted}, here data that are not CheXpert ({dataset})"]
    if protocol.trained_on:
        return [f"{wanted}, here patients that the run was trained or chosen on"]
    if name != reference.protocol:
        return [f"{wanted}, here {HERE.get(name, PROTOCOLS[OTHER])}"]
    scored = counted(rows, unit)
    if name == "holdout":
        if rows >= LEAST_HOLDOUT:
            return []
        return [f"a tenth of CheXpert, here {scored} laid out as CheXpert"]
    fewest, most = SAMPLES[name][unit]
    if fewest <= rows <= most:
        return []
    return [f"{wanted}, here another sample of {scored}"]


def _truth_reasons(reference: Reference, protocol: Protocol) -> list[str]:
    """Radiologists were never uncertain and left nothing out: policies make a hold-out's truth."""
    if not reference.protocol == protocol.name == "holdout":
        return []
    reasons = []
    if reference.uncertainty != protocol.uncertainty:
        here = policy_name(protocol.uncertainty)
        reasons.append(f"truth by {policy_name(reference.uncertainty)}, here {here}")
    if reference.blank != protocol.blank:
        here = "left out" if protocol.blank == "ignore" else protocol.blank
        reasons.append(f"labels not mentioned count as negative, here {here}")
    return reasons


def _split_reasons(reference: Reference, protocol: Protocol) -> list[str]:
    """A hold-out is drawn, and how is a choice; the official parts share no patient."""
    stated, here = reference.split_by, protocol.split_by
    if reference.protocol != "holdout" or stated == here:
        return []
    if stated == "image":
        unknown = ", here how is not known" if here == NOT_KNOWN else ""
        return [f"split by image: patients of its test part were trained on{unknown}"]
    return [f"split by {stated}, here {'how is not known' if here == NOT_KNOWN else f'by {here}'}"]


def _image_reasons(reference: Reference, protocol: Protocol, unit: str) -> list[str]:
    """What of a study was scored."""
    reasons = []
    if reference.unit != unit:
        reasons.append(f"scored by {reference.unit}, here by {unit}")
    views, here = list(VIEWS[reference.views]), sorted(protocol.views or [NOT_KNOWN])
    if views != here:
        alone = " alone" if len(views) == 1 else ""
        reasons.append(f"{' and '.join(views)} images{alone}, here {' and '.join(here)}")
    return reasons
