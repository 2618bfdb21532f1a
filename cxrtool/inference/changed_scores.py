"""`evaluate --robustness`: a run's scores of a part's images, changed a little in several ways."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import TruthConfig, worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, first_few
from cxrtool.data.prediction_tables import Predictions, predictions_of, rows_of
from cxrtool.evaluation.operating_points import OperatingPoint
from cxrtool.evaluation.robustness import assess_robustness
from cxrtool.evaluation.run_part import Part
from cxrtool.evaluation.scoring import Scored
from cxrtool.images.decoding import decode_batches
from cxrtool.images.perturbations import PERTURBATIONS
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.part_scores import sample_of_part
from cxrtool.inference.scorer import Scorer, load_scorer

PLAIN = "as they are"


def with_robustness(
    scored: Scored, part: Part, point: OperatingPoint, config: TruthConfig, reporter: Reporter
) -> Scored:
    """An evaluation with what mild changes of its images do to it.

    The images as they are are scored again beside the changed ones, by the same engine: kept
    scores may be another device's, whose last digits differ.

    Raises:
        DataError: an image cannot be read.
        UsageError: this machine has no such device.
    """
    compute = Compute(
        engine="torch", device=config.device, precision=config.precision, images=len(part.rows)
    )
    with reporter.busy("loading torch"):
        scorer = replace(load_scorer(part.run, compute, card=part.card), calibration=None)
    predictions = _score(scorer, part, config, reporter)
    samples = {name: sample_of_part(part, config, one) for name, one in predictions.items()}
    plain = samples.pop(PLAIN)
    if part.labels is not None:
        point = point.choose(part.card.labels, part.labels)
    found = assess_robustness(plain, samples, point.thresholds, scored.draws)
    return replace(scored, result=replace(scored.result, robustness=found))


def _score(
    scorer: Scorer, part: Part, config: TruthConfig, reporter: Reporter
) -> Mapping[str, Predictions]:
    """A part's predictions, of the images as they are and after each change."""
    paths = part.rows["path"].tolist()
    batches = decode_batches(
        [part.info.folder / path for path in paths],
        [scorer.image_sizes],
        batch=config.batch_size,
        workers=worker_count(config.workers),
    )
    logits: dict[str, list[NDArray[np.float64]]] = {
        PLAIN: [],
        **{name: [] for name in PERTURBATIONS},
    }
    with reporter.steps("scoring changed images", len(paths)) as advance:
        for batch in batches:
            failed = [f"{paths[one.index]}: {one.error}" for one in batch if one.error]
            if failed:
                raise DataError(
                    f"{first_few(failed)}: an image of {part.name} cannot be read any more: run "
                    "`cxrtool prepare` again"
                )
            plain = [one.pixels[scorer.image_sizes][0] for one in batch]
            for name, of_change in logits.items():
                changed = plain if name == PLAIN else [PERTURBATIONS[name](one) for one in plain]
                of_change.append(scorer.submit(np.stack(changed))().logits)
            advance(len(batch))
    none = dict.fromkeys(scorer.labels)
    rows = {
        name: list(rows_of(paths, np.concatenate(found), scorer.labels, none))
        for name, found in logits.items()
    }
    return {name: predictions_of(of_change, scorer.labels) for name, of_change in rows.items()}
