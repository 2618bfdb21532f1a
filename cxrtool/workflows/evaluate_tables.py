"""`evaluate --predictions`: anybody's tables of scores against anybody's table of labels."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import EvaluateConfig, TruthConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.files import claimed_folder, write_json
from cxrtool.core.names import names_for_files
from cxrtool.core.origin import (
    CHEXPERT,
    DRAWN_BY,
    Origin,
    drawn_origin,
    own_origin,
    published_origin,
    whoever_made,
)
from cxrtool.data.labels import targets_and_mask
from cxrtool.data.logits import mean_logits
from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.comparison import paired_differences
from cxrtool.evaluation.operating_points import choose_point, fit_calibration
from cxrtool.evaluation.result import About, Scored, score_sample, tell_warnings
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.tables.matching import Matched, match_scores
from cxrtool.evaluation.tables.scores import read_score_table
from cxrtool.evaluation.tables.truth import TruthTable, read_truth_table
from cxrtool.evaluation.thresholds import parse_rule
from cxrtool.evaluation.truth import wanted_columns
from cxrtool.reports.files import draw_scores, write_scores
from cxrtool.reports.page import Card, write_report
from cxrtool.workflows.evaluate import EvaluateResult, known_groups

DEFAULT_POLICY, DEFAULT_BLANK = "ones", "zeros"
PROTOCOLS = {
    "train": ("holdout", "labeler of train.csv"),
    "valid": ("expert", "radiologists of valid.csv"),
    "test": ("test500", "five radiologists, the majority of their votes"),
}
"""What a score on each part of CheXpert is called, and whose its labels are."""
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class TablesResult:
    """The scores of some tables of predictions, of their mean, and how far they are apart."""

    results: list[EvaluateResult]
    differences: list[dict[str, Any]]
    notes: list[str]
    written: tuple[Path, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One table's result as that of a run; of several, `results` and `differences`."""
        if len(self.results) == 1:
            return {**self.results[0].as_json(), "notes": self.notes}
        return {
            "results": [result.as_json() for result in self.results],
            "differences": self.differences,
            "notes": self.notes,
        }


def evaluate_tables(
    config: EvaluateConfig, *, seed: int, reporter: Reporter = SILENT
) -> TablesResult:
    """Score tables of predictions against a table of truth; no run, no workspace.

    Writes only where `config.output` names a folder.

    Raises:
        UsageError: options that do not go together.
        DataError: a table cannot be read, or its rows or labels do not fit the truth's.
    """
    _check_options(config)
    files = config.predictions or []
    _refuse_computing(config)
    samples, protocol, origin, unit, aggregate, notes = read_samples(files, config.truth, config)
    _refuse_idle_aggregate(config, aggregate)
    for note in notes:
        reporter.note(note)
    points, calibrations, warnings = _chosen(config, files, samples, reporter)
    names = _names(files)
    if len(samples) > 1:
        names.append(f"mean of {len(files)} files")
        samples.append(mean_sample(samples, reporter))
    scored = [
        score_sample(
            sample,
            _about(name, protocol, origin, unit, aggregate, warnings),
            point=points[at] if at < len(points) else None,
            calibration=calibrations[at] if at < len(calibrations) else None,
            replicates=config.bootstrap,
            seed=seed,
        )
        for at, (name, sample) in enumerate(zip(names, samples, strict=True))
    ]
    for text in warnings:
        reporter.warn(text)
    tell_warnings(scored, reporter)
    differences = differences_of(scored)
    written: list[Path] = []
    if config.output is not None:
        with reporter.busy("drawing"):
            written = _write(config.output, scored, differences, config)
    return TablesResult(
        [EvaluateResult(one.values) for one in scored], differences, notes, tuple(written)
    )


def score_files_alone(
    files: Sequence[Path], config: TruthConfig, *, seed: int, reporter: Reporter
) -> list[Scored]:
    """Score tables of predictions without thresholds: what a comparison needs.

    Raises what `evaluate_tables` does.
    """
    _refuse_computing(config)
    samples, protocol, origin, unit, aggregate, notes = read_samples(files, config.truth, config)
    _refuse_idle_aggregate(config, aggregate)
    for note in notes:
        reporter.note(note)
    return [
        score_sample(
            sample,
            _about(name, protocol, origin, unit, aggregate),
            point=None,
            calibration=None,
            replicates=config.bootstrap,
            seed=seed,
        )
        for name, sample in zip(_names(files), samples, strict=True)
    ]


def _about(
    name: str,
    protocol: dict[str, Any],
    origin: Origin,
    unit: str,
    aggregate: str | None,
    warnings: Sequence[str] = (),
) -> About:
    return About(
        run=name,
        split=None,
        protocol=protocol,
        unit=unit,
        aggregate=aggregate,
        dataset=CHEXPERT if protocol["name"] != "other" else origin.description,
        data=origin.for_readers(),
        warnings=tuple(warnings),
    )


def _check_options(config: EvaluateConfig) -> None:
    if config.truth is None:
        raise UsageError("--predictions: name the table of labels with --truth CSV")
    if config.run is not None:
        raise UsageError("--predictions scores tables: leave the run out")
    if config.keep:
        raise UsageError("--keep stores something with a run: there is none")
    chosen = config.operating_point is not None or config.calibrate not in (None, "none")
    if chosen and not config.valid_predictions:
        raise UsageError(
            "--operating-point and --calibrate are chosen on other images: give the model's "
            "scores of those with --valid-predictions"
        )
    if config.split != TruthConfig.split:
        raise UsageError("--split goes with a run: all rows of --predictions are scored")
    if config.valid_truth is not None and not config.valid_predictions:
        raise UsageError("--valid-truth goes with --valid-predictions: name these too")
    if config.output is None and (config.force or not config.report):
        raise UsageError("--force and --no-report are of what --output DIR writes: name a folder")
    valid, files = len(config.valid_predictions or []), len(config.predictions or [])
    if valid not in (0, files):
        raise UsageError(
            f"{files} times --predictions and {valid} times --valid-predictions: give one each, "
            "in the same order"
        )


def _refuse_computing(config: TruthConfig) -> None:
    """The scores of tables are there: no network runs that such an option could be for."""
    for name in ("device", "workers", "precision", "batch_size"):
        if getattr(config, name) != getattr(TruthConfig, name):
            raise UsageError(
                f"--{name.replace('_', '-')} goes with a run: no network scores the images of "
                "--predictions"
            )


def _refuse_idle_aggregate(config: TruthConfig, aggregate: str | None) -> None:
    if aggregate is None and config.aggregate != TruthConfig.aggregate:
        raise UsageError(
            f"--aggregate {config.aggregate}: no study's score is made of its images' here; "
            "it goes with --unit study, or with a truth of studies and predictions of images"
        )


def read_samples(
    files: Sequence[Path], truth: Path | None, config: TruthConfig
) -> tuple[list[Sample], dict[str, Any], Origin, str, str | None, list[str]]:
    """The samples of tables of predictions on the rows that all have, in the same order.

    Returns:
        A sample a file, the protocol, where the images are from, the unit, how a study's score
        was made of its images' (None where it was not), and notes on what was left out.
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
    protocol = _protocol(table, origin, policy, blank)
    return samples, protocol, origin, unit, aggregate, notes


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


def _protocol(truth: TruthTable, origin: Origin, policy: str, blank: str) -> dict[str, Any]:
    nobody = DRAWN_BY if origin.drawn else whoever_made(truth.path.name)
    name, labels_by = PROTOCOLS.get(str(truth.dataset_part), ("other", nobody))
    return {
        "name": name,
        "labels_by": labels_by,
        "uncertainty": policy,
        "blank": blank,
        "split_by": "patient" if name in ("expert", "test500") else NOT_KNOWN,
        "views": list(truth.views),
    }


def _chosen(
    config: EvaluateConfig, files: Sequence[Path], samples: list[Sample], reporter: Reporter
) -> tuple[list[Any], list[Any], list[str]]:
    """Operating points and calibrations from --valid-predictions, one a file and one their mean."""
    if not config.valid_predictions:
        return [], [], []
    plain = replace(config, by="none")
    truth = config.valid_truth or config.truth
    valid, _, _, _, _, notes = read_samples(config.valid_predictions, truth, plain)
    for note in notes:
        reporter.note(f"valid: {note}")
    labels = samples[0].labels
    absent = [label for label in labels if label not in valid[0].labels]
    if absent:
        raise DataError(
            f"the tables of --valid-predictions lack {first_few(absent)}: thresholds are chosen "
            "label by label"
        )
    valid = [sample.choose(labels) for sample in valid]
    for path, known, sample in zip(config.valid_predictions, valid, samples, strict=True):
        _refuse_other_scale(path, known, sample)
    warnings = []
    both = np.intersect1d(valid[0].patients, samples[0].patients)
    if len(both):
        warnings.append(
            f"{len(both)} patients are among those that thresholds were chosen on: what is given "
            "at the thresholds is too good"
        )
    if len(valid) > 1:
        valid.append(mean_sample(valid, reporter))
    rule = parse_rule(config.operating_point or "youden")
    points = [choose_point(rule, sample, "valid") for sample in valid]
    if config.calibrate in (None, "none"):
        return points, [], warnings
    fitted = [fit_calibration(str(config.calibrate), sample, "valid") for sample in valid]
    return points, fitted, warnings


def _refuse_other_scale(path: Path, valid: Sample, sample: Sample) -> None:
    """A threshold is a score: one chosen among probabilities says nothing about logits."""
    if valid.probabilities != sample.probabilities:
        lie = {True: "lie between 0 and 1", False: "do not all lie between 0 and 1"}
        raise DataError(
            f"{path}: its scores {lie[valid.probabilities]}, those that its thresholds are for "
            f"{lie[sample.probabilities]}: give both on one scale, as the model writes them"
        )


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
    out = np.empty_like(sample.scores)
    for column, scores in enumerate(sample.scores.T):
        _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
        above = np.cumsum(count)
        out[:, column] = (above - (count - 1) / 2)[place] / len(scores)
    return out


def _names(files: Sequence[Path]) -> list[str]:
    """What tells the files apart: their names, or so much of their paths as is needed."""
    for parts in range(1, 20):
        names = [str(Path(*path.parts[-parts:])) for path in files]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(files, start=1)]


def differences_of(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """The differences of each pair that is held against one truth, the later less the earlier."""
    found = []
    for earlier, later in itertools.combinations(scored, 2):
        if why_apart(earlier, later):
            continue
        draws = earlier.draws
        if draws is not None:
            draws = draw_patients(later.raw.patients, replicates=draws.replicates, seed=draws.seed)
        apart = paired_differences(later.raw, earlier.raw, draws)
        pair = {"run": later.values["run"], "baseline": earlier.values["run"]}
        found.append({**pair, **apart})
    return found


APART = {
    "images": "the images differ, as those of two folds' valid parts do. Give the mean and the "
    "spread of the folds' scores, or score both on images that neither saw (--split test)",
    "uncertainty": "the truth of uncertain labels differs: --uncertainty POLICY scores all "
    "against one",
    "blank": "the truth of labels not mentioned differs: --blank scores all against one",
    "trained_on": "only one of the two has seen patients of these images",
    "protocol": "their protocols differ",
}
"""Why no difference is taken of a pair, and what to do."""


def why_apart(one: Scored, other: Scored) -> str | None:
    """The key in `APART` of the first reason why a difference would mean nothing; None: no reason.

    Images come before the truth: of other images no truth is the same.
    """
    if not np.array_equal(one.raw.keys, other.raw.keys):
        return "images"
    here, there = one.values["protocol"], other.values["protocol"]
    for key in ("uncertainty", "blank", "trained_on"):
        if here.get(key) != there.get(key):
            return key
    return None if here == there else "protocol"


def _write(
    folder: Path,
    scored: Sequence[Scored],
    differences: list[dict[str, Any]],
    config: EvaluateConfig,
) -> list[Path]:
    """Each model's files in a folder of its own, where there are several."""
    written = []
    with claimed_folder(folder, force=config.force):
        places = _places([one.values["run"] for one in scored])
        for one in scored:
            place = folder
            if len(scored) > 1:
                place = folder / places[one.values["run"]]
                place.mkdir(exist_ok=True)
            if config.report:
                drawn = draw_scores(one, place / "figures")
                written.append(place / "report.html")
                write_report(one.values, Card(title=one.values["run"]), drawn, written[-1])
            written += write_scores(one.values, place / "metrics.json")
        if differences:
            write_json(folder / "differences.json", {"differences": differences})
            written.append(folder / "differences.json")
    return written


def _places(names: Sequence[str]) -> dict[str, str]:
    """A folder's name for each table: its own without the suffix, or with its folders'."""
    stems = {name: Path(name).stem for name in names}
    if len(set(stems.values())) < len(stems):
        stems = {name: str(Path(name).with_suffix("")) for name in names}
    if len(set(stems.values())) < len(stems):
        stems = {name: name for name in names}
    folders = names_for_files(stems.values(), separator="-")
    return {name: folders[stem] for name, stem in stems.items()}
