"""What a split cannot do: labels that a part cannot judge, and patients in several parts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import SplitConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import counted, first_few
from cxrtool.data.labels import CHEXPERT_LABELS, policy_name
from cxrtool.data.shared_pictures import SharedPictures

MANY_PATIENTS = 10
"""One person is hardly known under more ids: a picture of more of them is no patient's."""


def undefined_labels(
    parts: NDArray[np.object_],
    names: Sequence[str],
    positives: Mapping[str, NDArray[np.bool_]],
    labels: Sequence[str],
) -> dict[str, dict[str, str]]:
    """The labels of which no score is defined in a part, each with what the part lacks.

    Args:
        parts: (n,) the part of each image.
        names: the parts to look at.
        positives: (n, labels) bool of each policy.
        labels: their names.

    Returns:
        By part and label `no positive` or `no negative` patient, with the policy where it is so
        under one alone. Parts that can judge every label are left out.
    """
    found = {}
    for name in names:
        inside = {policy: matrix[parts == name] for policy, matrix in positives.items()}
        lacks = {
            label: _lacking({policy: matrix[:, at] for policy, matrix in inside.items()})
            for at, label in enumerate(labels)
        }
        undefined = {label: reason for label, reason in lacks.items() if reason}
        if undefined:
            found[name] = undefined
    return found


def _lacking(columns: Mapping[str, NDArray[np.bool_]]) -> str:
    """What a label has none of in a part, in words; empty where it has both."""
    told = []
    for kind, lacks in (
        ("positive", {policy: not column.any() for policy, column in columns.items()}),
        ("negative", {policy: bool(column.all()) for policy, column in columns.items()}),
    ):
        policies = [policy_name(policy) for policy, so in lacks.items() if so]
        if policies:
            under = "" if len(policies) == len(columns) else f" under {' and '.join(policies)}"
            told.append(f"no {kind} patient{under}")
    return "; ".join(told)


def warn_of_split(
    undefined: Mapping[str, Mapping[str, str]],
    folds: Mapping[str, Any],
    shared: int,
    pictures: SharedPictures | None,
    *,
    config: SplitConfig,
    reporter: Reporter,
) -> None:
    """Say which parts cannot judge which labels, and where patients, or pictures, are shared."""
    for part, lacks in undefined.items():
        for reason in dict.fromkeys(lacks.values()):
            labels = [label for label, found in lacks.items() if found == reason]
            cannot = "cannot teach" if part == "train" else "cannot judge"
            named = first_few(labels, len(CHEXPERT_LABELS))
            reporter.warn(f"{part} {cannot} {named}: {reason}")
    for fold, lacks in folds.get("undefined", {}).items():
        named = first_few(list(lacks), len(CHEXPERT_LABELS))
        reporter.warn(f"fold {fold}, as valid, cannot judge {named}")
    if config.by == "image":
        return
    if pictures is not None:
        _warn_of_pictures(pictures, reporter)
    if folds and folds["patients_in_two_folds"]:
        reporter.warn(f"{folds['patients_in_two_folds']:,} patients are in two folds")
    if shared:
        reporter.warn(
            f"{shared:,} patients are in more than one part: scores on test will be too good"
        )


def _warn_of_pictures(pictures: SharedPictures, reporter: Reporter) -> None:
    if pictures.in_two_parts:
        reporter.warn(
            f"{counted(pictures.in_two_parts, 'group')} of patients who share a picture "
            f"{'is' if pictures.in_two_parts == 1 else 'are'} in more than one part, as the parts "
            "were given: scores may be too good"
        )
    if pictures.largest > MANY_PATIENTS:
        reporter.warn(
            f"{pictures.largest:,} patients share pictures, and stay together: more than one "
            "person's, so they may show something else than a chest; problems.csv lists them"
        )
