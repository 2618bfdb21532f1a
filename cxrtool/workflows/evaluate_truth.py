"""Rows of a manifest as truth for a run: targets, protocol, and who must not be among them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.config import EvaluateConfig, TruthConfig
from cxrtool.errors import DataError, first_few
from cxrtool.labels import targets_and_mask
from cxrtool.manifest import label_columns
from cxrtool.origin import CHEXPERT
from cxrtool.report import Reporter
from cxrtool.runs import RunCard
from cxrtool.scoring import Sample
from cxrtool.workspace import DataInfo


def sample_of_rows(
    rows: pd.DataFrame,
    card: RunCard,
    policy: str,
    blank: str,
    scores: NDArray[np.floating],
    groups: Mapping[str, NDArray[np.str_]],
) -> Sample:
    """A run's scores (n, labels) of some of a manifest's rows, and their truth under a policy."""
    columns = label_columns(rows)
    # Under U-Zeros what No Finding becomes depends on all labels, also those not predicted.
    raw = rows[columns].to_numpy(dtype=float)
    targets, mask = targets_and_mask(raw, columns, policy, blank)
    chosen = [columns.index(label) for label in card.labels]
    return Sample(
        labels=card.labels,
        keys=rows["path"].to_numpy(dtype=str),
        patients=rows["patient_id"].to_numpy(dtype=str),
        studies=rows["study_id"].to_numpy(dtype=str),
        targets=targets[:, chosen] == 1,
        mask=mask[:, chosen],
        scores=np.asarray(scores, np.float64),
        groups=groups,
    )


def protocol_of(
    rows: pd.DataFrame,
    info: DataInfo,
    *,
    policy: str,
    blank: str,
    by_image: bool,
    trained_on: bool = False,
) -> dict[str, Any]:
    """What a score on these rows is a score of.

    Args:
        rows: of the manifest, those that are scored.
        info: of the data set that they are of.
        policy: for uncertain labels of the truth.
        blank: the same for labels not mentioned.
        by_image: the split parted images and not patients.
        trained_on: the run has seen patients of these rows, and no split by image says so: that
            is a measurement of none of the published kinds, whatever the rows are.

    Returns:
        The protocol, with `trained_on` where it is so.
    """
    return {
        "name": "other" if trained_on else _protocol_name(rows, info),
        "labels_by": _labellers(rows, info),
        "uncertainty": policy,
        "blank": blank,
        "split_by": "image" if by_image else "patient",
        "views": sorted(rows["view"].unique()),
        **({"trained_on": True} if trained_on else {}),
    }


def _protocol_name(rows: pd.DataFrame, info: DataInfo) -> str:
    sources = set(rows["source"])
    if info.dataset != CHEXPERT or not sources <= set(info.origin.published):
        return "other"
    return "expert" if sources == {"valid"} else "holdout"


def dataset_of(protocol: Mapping[str, Any], info: DataInfo) -> str:
    """`chexpert`, where the rows are of CheXpert's own tables; otherwise what they are of."""
    if info.origin.kind == CHEXPERT or protocol["name"] != "other":
        return CHEXPERT
    return info.origin.description


def _labellers(rows: pd.DataFrame, info: DataInfo) -> str:
    names = sorted(rows["source"].unique())
    return " and ".join(info.labels_by.get(name, "whoever made them") for name in names)


def check_patients(
    card: RunCard, rows: pd.DataFrame, config: TruthConfig, *, by_image: bool, reporter: Reporter
) -> list[str]:
    """Refuse, or warn of, scores on patients that a run has seen: they are too good.

    Args:
        card: of the run.
        rows: of the manifest, those to be scored.
        config: whether the part is one that the run was made on, and whether to force it.
        by_image: the split is the one of the training and parts patients on purpose.
        reporter: is told the warnings.

    Returns:
        The warnings, which stay with the scores.

    Raises:
        DataError: such patients, and neither `by_image` nor `config.force`.
    """
    told = []
    if config.split == "train":
        told.append("these are scores on the training images themselves")
    elif config.split == "valid":
        told.append("epoch and thresholds were chosen on valid: its scores are too good")
    if config.split != "train":
        told += _known_patients(card, rows, config, by_image)
    for text in told:
        reporter.warn(text)
    return told


def known_patients(card: RunCard, rows: pd.DataFrame, split: str) -> list[str]:
    """Patients of some rows that a run was trained on or, unless these are its valid, chosen on."""
    seen = card.train_patients | (frozenset() if split == "valid" else card.valid_patients)
    return [patient for patient in rows["patient_id"].unique() if patient in seen]


def _known_patients(
    card: RunCard, rows: pd.DataFrame, config: TruthConfig, by_image: bool
) -> list[str]:
    known = known_patients(card, rows, config.split)
    if not known:
        return []
    text = (
        f"{len(known)} of {rows['patient_id'].nunique()} patients in {config.split} "
        "are among those that the run was trained or chosen on"
    )
    if not (by_image or config.force):
        raise DataError(
            f"{text} ({first_few(known)}): the split is not the one of its training; "
            "train again, or pass --force to score all the same"
        )
    return [f"{text}: the scores are too good"]


def wanted_columns(config: EvaluateConfig) -> list[str] | None:
    """The columns of subgroups that were asked for; None: the usual ones that are known."""
    if config.by is None:
        return None
    names = [name.strip() for name in config.by.split(",") if name.strip()]
    return [] if names == ["none"] else names
