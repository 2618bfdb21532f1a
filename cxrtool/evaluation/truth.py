"""Rows of a manifest as truth for a run: targets, and who must not be among them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.run_cards import RunCard
from cxrtool.data.labels import targets_and_mask
from cxrtool.data.manifest import label_columns
from cxrtool.data.prediction_tables import Predictions
from cxrtool.data.seen import SeenByRun, SeenRows
from cxrtool.evaluation.sample import Sample

MOST_TWICE = 0.01
"""The share of a part's images that a data set may hold a second time elsewhere: a warning says
so, and the scores stand. `prepare` lists them as pictures twice."""


def sample_of_rows(
    rows: pd.DataFrame,
    card: RunCard,
    policy: str,
    blank: str,
    predictions: Predictions,
    groups: Mapping[str, NDArray[np.str_]],
) -> Sample:
    """A run's predictions of a manifest's rows, in their order, and their truth under a policy."""
    columns = label_columns(rows)
    # Under U-Zeros what No Finding becomes depends on all labels, also those not predicted.
    raw = rows[columns].to_numpy(dtype=float)
    targets, mask = targets_and_mask(raw, columns, policy, blank)
    # A published network may have labels that the data lack: for these nothing is counted.
    there = np.array([label in columns for label in card.labels])
    chosen = [columns.index(label) if label in columns else 0 for label in card.labels]
    return Sample(
        labels=card.labels,
        keys=rows["path"].to_numpy(dtype=str),
        patients=rows["patient_id"].to_numpy(dtype=str),
        studies=rows["study_id"].to_numpy(dtype=str),
        targets=targets[:, chosen] == 1,
        mask=mask[:, chosen] & there,
        scores=predictions.scores.to_numpy(),
        logits=predictions.logits.to_numpy(),
        groups=groups,
    )


@dataclass(frozen=True, kw_only=True)
class Known:
    """What of the rows to be scored is known to a run, and whether its split explains it."""

    seen: SeenByRun
    own_split: bool
    """The split is the one of its training."""
    by_image: bool
    """That split parts patients on purpose."""
    own_data: bool = True
    """The images are those of the data set of its training."""

    @property
    def itself(self) -> SeenRows:
        """What the run has seen."""
        return self.seen.itself

    @property
    def before(self) -> SeenRows:
        """What it began from has seen, and the run has not."""
        return self.seen.before

    @property
    def spoils(self) -> bool:
        """Whether a score on the rows is no measurement.

        A split by image parts patients on purpose, and a data set may hold a few pictures twice;
        nothing explains what other runs have seen.
        """
        few = len(self.itself.images) <= MOST_TWICE * self.itself.of_images
        explained = self.own_split and (self.by_image or (few and not self.itself.patients))
        return bool(self.before) or (bool(self.itself) and not explained)

    def sentences(self, split: str, card: RunCard) -> list[str]:
        """What is known, in words."""
        names = ", ".join(dict.fromkeys(one.name for one in card.ancestors))
        return [
            *self.itself.describe(split, "the run was trained or chosen on"),
            *self.before.describe(
                split, f"the runs it began from ({names}) were trained or chosen on"
            ),
        ]


def check_seen(known: Known, card: RunCard, part: str, *, force: bool) -> list[str]:
    """Refuse, or warn of, scores on what a run has seen: they are too good.

    Args:
        known: what of the rows it has seen.
        card: the run's own.
        part: the rows' name, of a part of the split or of another data set.
        force: warn, and do not refuse.

    Returns:
        The warnings, which stay with the scores.

    Raises:
        DataError: `known` spoils them, and `force` is not given.
    """
    sentences = known.sentences(part, card)
    if known.spoils and not force:
        if known.own_split and not known.itself:
            advice = "begin from weights that have not seen them"
        elif known.own_data:
            advice = "the split is not the one of its training; train again"
        else:
            advice = (
                "score it on images that are new to it (`prepare --apart-from` leaves out those of "
                "another workspace)"
            )
        one = known.itself or known.before
        raise DataError(
            f"{'; '.join(sentences)} ({first_few(one.patients or one.images)}): {advice}, "
            "or pass --force to score all the same"
        )
    return [*known.seen.unchecked, *(f"{text}: the scores are too good" for text in sentences)]


def check_part(known: Known, card: RunCard, part: str, *, force: bool) -> list[str]:
    """`check_seen` of a part of the split, of which train and valid are known to be seen."""
    if part == "train":
        return ["these are scores on the training images themselves"]
    chosen = ["epoch and thresholds were chosen on valid: its scores are too good"]
    return (chosen if part == "valid" else []) + check_seen(known, card, part, force=force)


def wanted_columns(config: EvaluateConfig) -> list[str] | None:
    """The columns of subgroups that were asked for; None: the usual ones that are known."""
    if config.by is None:
        return None
    names = [name.strip() for name in config.by.split(",") if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--by names {', '.join(twice)} twice: name each once")
    return [] if names == ["none"] else names
