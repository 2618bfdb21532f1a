"""What a score is a score of: whose labels, under which policies, on which images, split how."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cxrtool.core.json_files import JsonResult
from cxrtool.core.origin import CHEXPERT, DRAWN_BY, Origin, whoever_made
from cxrtool.core.workspace import DataInfo

NOT_KNOWN = "not known"
OTHER = "other"
PROTOCOLS = {
    "holdout": "hold-out of train.csv, labels read off reports by a program",
    "expert": "200 studies of valid.csv, labelled by three radiologists",
    "test500": "500 test studies, labelled by five radiologists",
    OTHER: "other data or labels",
}
"""The protocols that go by the name "AUROC on CheXpert", and what is none of them."""
LAID_OUT = (CHEXPERT, "chexlocalize")
"""The formats of CheXpert's tables."""
RULE_WORDS = {
    "vote": "the answer of most readers",
    "any": "positive where any reader says so",
    "all": "positive where all readers say so",
    "soft": "the majority (a share of readers above one half)",
}
"""What `prepare --readers` makes of several readers, as truth."""
OF_TABLES = {
    "train": ("holdout", "labeler of train.csv"),
    "valid": ("expert", "radiologists of valid.csv"),
    "test": ("test500", "five radiologists, the majority of their votes"),
}
"""What a score on each part of CheXpert is called, and whose its labels are."""


@dataclass(frozen=True, kw_only=True)
class Protocol(JsonResult):
    """How scores were measured; two are compared only where it is the same."""

    name: str
    """One of `PROTOCOLS`."""
    labels_by: str
    uncertainty: str
    """The policy for uncertain labels of the truth."""
    blank: str
    """The same for labels not mentioned."""
    split_by: str
    """`patient`, `image`, or not known."""
    views: tuple[str, ...]
    """Empty where they are not known."""
    trained_on: bool = False
    """The run has seen patients of these rows, and no split by image says so: that is a
    measurement of none of the published kinds, whatever the rows are."""
    readers: str | None = None
    """The rule by which several readers' labels of an image became one, where there was one."""

    @property
    def readers_words(self) -> str:
        """What the rule for several readers made of them, in words; empty without one."""
        return "" if self.readers is None else RULE_WORDS.get(self.readers, self.readers)

    def as_json(self) -> dict[str, Any]:
        """The protocol; `trained_on` and `readers` only where there is something to say."""
        found = super().as_json()
        silent = {"trained_on": False, "readers": None}
        return {
            key: value for key, value in found.items() if key not in silent or value != silent[key]
        }


def protocol_of_rows(
    rows: pd.DataFrame,
    info: DataInfo,
    *,
    policy: str,
    blank: str,
    by_image: bool,
    trained_on: bool = False,
) -> Protocol:
    """What a score on these rows of a manifest is a score of.

    `by_image`: the split parted images and not patients. The others are as in `Protocol`.
    """
    sources = sorted(rows["source"].unique())
    published = info.dataset in LAID_OUT and set(sources) <= set(info.origin.published)
    name = _of_chexpert(sources) if published else OTHER
    return Protocol(
        name=OTHER if trained_on else name,
        labels_by=" and ".join(info.labels_by.get(one, "whoever made them") for one in sources),
        uncertainty=policy,
        blank=blank,
        split_by="image" if by_image else "patient",
        views=tuple(sorted(rows["view"].unique())),
        trained_on=trained_on,
        readers=info.readers,
    )


def _of_chexpert(sources: list[str]) -> str:
    """The protocol of rows of CheXpert's own tables; of both tables by radiologists it is none."""
    if len(sources) == 1:
        return OF_TABLES[sources[0]][0]
    return "holdout" if "train" in sources else OTHER


def protocol_of_table(
    file: str,
    part: str | None,
    origin: Origin,
    *,
    policy: str,
    blank: str,
    views: tuple[str, ...],
    readers: str | None = None,
) -> Protocol:
    """What a score against a table of labels is a score of.

    Args:
        file: the table's name.
        part: the part of CheXpert that it is; None where it is none.
        origin: of its images.
        policy, blank, views, readers: as in `Protocol`.
    """
    nobody = DRAWN_BY if origin.drawn else whoever_made(file)
    name, labels_by = OF_TABLES.get(part or "", (OTHER, nobody))
    return Protocol(
        name=name,
        labels_by=labels_by,
        uncertainty=policy,
        blank=blank,
        split_by="patient" if name in ("expert", "test500") else NOT_KNOWN,
        views=views,
        readers=readers,
    )


def dataset_of(protocol: Protocol, origin: Origin) -> str:
    """`chexpert`, where the rows are of CheXpert's own tables; otherwise what they are of."""
    of_chexpert = origin.kind == CHEXPERT or protocol.name != OTHER
    return CHEXPERT if of_chexpert else origin.description
