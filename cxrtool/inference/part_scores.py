"""A run's scores of a part of the split or of another data set: kept in its folder, or made now."""

from dataclasses import replace

from cxrtool.core.config import SOFT, EvaluateConfig, TruthConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, first_few
from cxrtool.data.labels import divided
from cxrtool.data.manifest import DESCRIBING
from cxrtool.data.prediction_rows import write_rows
from cxrtool.data.prediction_tables import Predictions, predictions_of, read_predictions
from cxrtool.data.run_predictions import doubt_of, is_bound, seal_predictions
from cxrtool.evaluation.operating_points import Calibration, OperatingPoint
from cxrtool.evaluation.run_part import Part
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.scoring import About, Scored, score_sample
from cxrtool.evaluation.subgroups import known_groups
from cxrtool.evaluation.triage import Triage
from cxrtool.evaluation.truth import sample_of_rows, wanted_columns


def score_part(
    part: Part,
    config: TruthConfig,
    point: OperatingPoint | None = None,
    calibration: Calibration | None = None,
    triage: Triage | None = None,
    *,
    seed: int,
    reporter: Reporter,
) -> Scored:
    """Score a run on its part, as images or as studies; without a point, by ranks alone."""
    sample = sample_of_part(part, config, run_scores(part, config, reporter))
    if part.labels is not None:
        point = point and point.choose(part.card.labels, part.labels)
    return score_sample(
        sample,
        About(
            run=part.run.name,
            split=part.split,
            protocol=part.protocol,
            unit=config.unit,
            aggregate=config.aggregate if config.unit == "study" else None,
            origin=part.info.origin,
            warnings=part.warnings,
            divided=_divided(part),
        ),
        point=point,
        triage=triage,
        calibration=calibration,
        replicates=config.bootstrap,
        seed=seed,
    )


def sample_of_part(part: Part, config: TruthConfig, predictions: Predictions) -> Sample:
    """Scores of a part's images and their truth: a row an image or a study, with its groups."""
    columns = wanted_columns(config) if isinstance(config, EvaluateConfig) else []
    about = part.rows[[name for name in part.rows.columns if name in DESCRIBING]]
    sample = sample_of_rows(
        part.rows,
        part.card,
        part.protocol.uncertainty,
        part.protocol.blank,
        predictions,
        known_groups(about, columns),
    )
    if config.unit == "study":
        sample = by_study(sample, config.aggregate)
    return sample if part.labels is None else sample.choose(part.labels)


def _divided(part: Part) -> int | None:
    """On how many of the labels readers are evenly divided; None: these are no shares."""
    if part.info.readers != SOFT:
        return None
    labels = [label for label in part.labels or part.card.labels if label in part.rows.columns]
    return divided(part.rows[labels].to_numpy(dtype=float))


def run_scores(part: Part, config: TruthConfig, reporter: Reporter) -> Predictions:
    """The run's scores of its part's images, kept in the run; made where one is missing."""
    paths = part.rows["path"].tolist()
    file = part.place.predictions(part.scores_stem)
    doubt = doubt_of(part.place, part.card, part.scores_stem) if file.is_file() else ""
    if doubt:
        reporter.warn(f"{file} is not known to be of this run's weights ({doubt}): scoring again")
    elif file.is_file():
        if not is_bound(part.place, part.card, part.scores_stem):
            reporter.warn(f"{file} is of version 0.1, and nothing says of which weights it is")
        kept = read_predictions(file, part.card.labels)
        if set(paths) <= set(kept.scores.index):
            reporter.note(f"scores of {file}")
            return kept.of(paths)
        reporter.note(f"{file} lacks images of {part.name}: scoring them again")
    # Only here is torch needed: scores that are there are read without it.
    with reporter.busy("loading torch"):
        from cxrtool.inference.engines.base import Compute
        from cxrtool.inference.ensemble import Ensemble
        from cxrtool.inference.scorer import load_scorer

        compute = Compute(
            engine="torch", device=config.device, precision=config.precision, images=len(paths)
        )
        scorer = load_scorer(part.run, compute)
    # The file holds what the network says: calibrations and verdicts come where scores are read.
    ensemble = Ensemble(members=(replace(scorer, calibration=None, triage=None),))
    reporter.note(f"scoring with {ensemble.description}")
    files = [part.info.folder / path for path in paths]
    rows = []
    with reporter.steps("scoring", len(files)) as advance:
        scored = ensemble.score(paths, files, batch_size=config.batch_size, workers=config.workers)
        for one in scored:
            rows.append(one.row)
            advance(1)
    failed = [f"{row.path}: {row.error}" for row in rows if row.error]
    if failed:
        raise DataError(
            f"{len(failed)} images of {part.name} cannot be read ({first_few(failed)}): "
            "run `cxrtool prepare` again"
        )
    write_rows(rows, file, part.card.labels, logits=True)
    seal_predictions(part.place, part.scores_stem, part.card.weights_sha256)
    return predictions_of(rows, part.card.labels)
