"""Tables of scores and a table of truth as samples, and what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import SOFT, EvaluateConfig, TruthConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.origin import CHEXPERT, Origin, drawn_origin, own_origin, published_origin
from cxrtool.data.labels import divided, targets_and_mask
from cxrtool.data.logits import mean_logits
from cxrtool.evaluation.protocol import Protocol, protocol_of_table
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.scoring import About
from cxrtool.evaluation.subgroups import known_groups
from cxrtool.evaluation.tables.matching import Matched, match_scores
from cxrtool.evaluation.tables.scores import read_score_table
from cxrtool.evaluation.tables.truth import TruthTable, read_truth_table
from cxrtool.evaluation.truth import wanted_columns

DEFAULT_POLICY, DEFAULT_BLANK = "ones", "zeros"


@dataclass(frozen=True, kw_only=True)
class TableSamples:
    """Tables of scores on the rows that all have, in the same order."""

    samples: list[Sample]
    """One a file."""
    protocol: Protocol
    origin: Origin
    """Where the images are from."""
    unit: str
    aggregate: str | None
    """How a study's score was made of its images'; None where it was not."""
    notes: list[str]
    """What was left out."""
    divided: int | None = None
    """How many label values are left out because readers are evenly divided; None: no shares."""

    def about(self, name: str, warnings: Sequence[str] = ()) -> About:
        """What is said of one table's scores, or of their mean."""
        return About(
            run=name,
            split=None,
            protocol=self.protocol,
            unit=self.unit,
            aggregate=self.aggregate,
            origin=self.origin,
            warnings=tuple(warnings),
            divided=self.divided,
        )


def read_samples(files: Sequence[Path], truth: Path | None, config: TruthConfig) -> TableSamples:
    """Read tables of predictions, and the truth that they are compared with.

    Raises:
        UsageError: no truth, or no such policy or column.
        DataError: a table cannot be read, or its rows or labels do not fit the truth's.
    """
    if truth is None:
        raise UsageError("name the table of labels with --truth CSV")
    table = read_truth_table(truth, config.key)
    tables = [read_score_table(path, table, config.key) for path in files]
    matched = match_scores(table, tables, config.aggregate)
    policy, blank = config.uncertainty or DEFAULT_POLICY, config.blank or DEFAULT_BLANK
    # Under U-Zeros what No Finding becomes depends on all labels, also those not predicted.
    targets, mask = targets_and_mask(matched.whole, table.labels, policy, blank)
    columns = [table.labels.index(label) for label in matched.labels]
    wanted = wanted_columns(config) if isinstance(config, EvaluateConfig) else []
    samples = [
        Sample(
            labels=matched.labels,
            keys=np.array(matched.keys, dtype=str),
            patients=matched.patients,
            studies=_studies(table, matched),
            targets=targets[:, columns] == 1,
            mask=mask[:, columns],
            scores=scores,
            logits=logits,
            groups=known_groups(matched.about, wanted),
        )
        for scores, logits in zip(matched.scores, matched.logits, strict=True)
    ]
    unit, aggregate = matched.unit, matched.aggregate
    if config.unit == "study" and unit == "image":
        samples, unit = [by_study(sample, config.aggregate) for sample in samples], "study"
        aggregate = config.aggregate
    notes = [*table.notes, *matched.notes]
    if not table.patients_known:
        notes.append(f"{truth.name} names no patients: each row counts as one")
    origin = origin_of_truth(table)
    if table.laid_out and not table.dataset_part and not origin.drawn:
        notes.append(
            f"{truth.name} is laid out as CheXpert's {table.laid_out}.csv, but has not its rows "
            "and labels: these scores are of no published protocol (give that whole table as "
            "--truth, if it is)"
        )
    protocol = protocol_of_table(
        truth.name,
        table.dataset_part,
        origin,
        policy=policy,
        blank=blank,
        views=table.views,
        readers=table.readers,
    )
    return TableSamples(
        samples=samples,
        protocol=protocol,
        origin=origin,
        unit=unit,
        aggregate=aggregate,
        notes=notes,
        divided=divided(matched.raw) if table.readers == SOFT else None,
    )


def origin_of_truth(truth: TruthTable) -> Origin:
    """Where the images of a table of labels are from, as far as it says."""
    drawn = drawn_origin([truth.path.parent])
    if drawn is not None:
        return drawn
    if truth.dataset_part is not None:
        return published_origin(CHEXPERT, ())
    return own_origin(f"those of {truth.path.name}", truth.path.parent, [truth.path])


def _studies(truth: TruthTable, matched: Matched) -> NDArray[np.str_]:
    if matched.unit == "study":
        return np.array(matched.keys, dtype=str)
    if truth.studies is None:
        return np.full(len(matched.keys), "")
    studies: NDArray[np.str_] = truth.studies[matched.rows]
    return studies


def mean_sample(samples: Sequence[Sample], reporter: Reporter) -> Sample:
    """The mean of several models' scores; of their ranks, where scores are no probabilities."""
    if all(sample.probabilities for sample in samples):
        mean = np.mean([sample.scores for sample in samples], axis=0)
        return replace(samples[0], scores=mean, logits=_mean_logits(samples))
    reporter.note("the mean is of ranks: not all scores lie between 0 and 1")
    mean = np.mean([_ranks(sample) for sample in samples], axis=0)
    return replace(samples[0], scores=mean, logits=None)


def _mean_logits(samples: Sequence[Sample]) -> NDArray[np.float64] | None:
    known = [sample.logits for sample in samples if sample.logits is not None]
    if len(known) < len(samples):
        return None
    rows = len(known[0])
    return mean_logits(np.concatenate(known), np.tile(np.arange(rows), len(known)), rows)


def _ranks(sample: Sample) -> NDArray[np.float64]:
    """Each label's ranks among the rows, ties sharing their mean rank, as shares of 1."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(sample.scores, axis=0) / len(sample.scores))
