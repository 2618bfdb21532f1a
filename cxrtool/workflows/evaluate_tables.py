"""`evaluate --predictions`: anybody's tables of scores against anybody's table of labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrtool.core.config import EvaluateConfig, TruthConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.files import claimed_folder
from cxrtool.core.json_files import plain, write_json
from cxrtool.core.names import names_for_files
from cxrtool.evaluation.calibration import PRIOR
from cxrtool.evaluation.choices import NO_CALIBRATION, Chosen, Wanted, choose_on
from cxrtool.evaluation.comparison import differences_of
from cxrtool.evaluation.operating_points import VALID
from cxrtool.evaluation.result import EvaluationResult, PairedDifferences
from cxrtool.evaluation.run_calibration import wanted_prevalences
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.scoring import Scored, score_sample, tell_warnings
from cxrtool.evaluation.tables.readings import beside_readers
from cxrtool.evaluation.tables.samples import TableSamples, mean_sample, read_samples
from cxrtool.reports.card import Card
from cxrtool.reports.failures import worst_failures
from cxrtool.reports.files import draw_scores, write_scores
from cxrtool.reports.page import write_report


@dataclass(frozen=True)
class TablesResult:
    """The scores of some tables of predictions, of their mean, and how far they are apart."""

    results: list[EvaluationResult]
    differences: list[PairedDifferences]
    notes: list[str]
    written: tuple[Path, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One table's result as that of a run; of several, `results` and `differences`."""
        if len(self.results) == 1:
            return {**self.results[0].as_json(), "notes": self.notes}
        found = {"results": self.results, "differences": self.differences, "notes": self.notes}
        return {name: plain(values) for name, values in found.items()}


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
    tables = _read(files, config, reporter)
    samples = list(tables.samples)
    chosen, warnings = _chosen(config, files, samples, reporter)
    names = _names(files)
    if len(samples) > 1:
        names.append(f"mean of {len(files)} files")
        samples.append(mean_sample(samples, reporter))
    scored = [
        score_sample(
            sample,
            tables.about(name, warnings),
            point=chosen[at].point if chosen else None,
            triage=chosen[at].triage if chosen else None,
            calibration=chosen[at].calibration if chosen else None,
            replicates=config.bootstrap,
            seed=seed,
        )
        for at, (name, sample) in enumerate(zip(names, samples, strict=True))
    ]
    scored = [beside_readers(one, config.readers, reporter) for one in scored]
    for text in warnings:
        reporter.warn(text)
    tell_warnings(scored, reporter)
    differences = differences_of(scored)
    written: list[Path] = []
    if config.output is not None:
        with reporter.busy("drawing"):
            written = _write(config.output, scored, differences, config)
    results = [one.result for one in scored]
    return TablesResult(results, differences, tables.notes, tuple(written))


def score_files_alone(
    files: Sequence[Path], config: TruthConfig, *, seed: int, reporter: Reporter
) -> list[Scored]:
    """Score tables of predictions without thresholds: what a comparison needs.

    Raises what `evaluate_tables` does.
    """
    tables = _read(files, config, reporter)
    return [
        score_sample(sample, tables.about(name), replicates=config.bootstrap, seed=seed)
        for name, sample in zip(_names(files), tables.samples, strict=True)
    ]


def _read(files: Sequence[Path], config: TruthConfig, reporter: Reporter) -> TableSamples:
    """The tables, and notes on what was left out of them; no option may do nothing."""
    for name in ("device", "workers", "precision", "batch_size"):
        if getattr(config, name) != getattr(TruthConfig, name):
            raise UsageError(
                f"--{name.replace('_', '-')} goes with a run: no network scores the images of "
                "--predictions"
            )
    tables = read_samples(files, config.truth, config)
    if tables.aggregate is None and config.aggregate != TruthConfig.aggregate:
        raise UsageError(
            f"--aggregate {config.aggregate}: no study's score is made of its images' here; "
            "it goes with --unit study, or with a truth of studies and predictions of images"
        )
    for note in tables.notes:
        reporter.note(note)
    return tables


def _check_options(config: EvaluateConfig) -> None:
    if config.truth is None:
        raise UsageError("--predictions: name the table of labels with --truth CSV")
    if config.run is not None:
        raise UsageError("--predictions scores tables: leave the run out")
    if config.data or config.format != EvaluateConfig.format:
        raise UsageError("--data and --format are of a run: leave them out, or --predictions")
    if config.show_images:
        raise UsageError("--show-images: tables have no images; it needs a run")
    if config.robustness:
        raise UsageError("--robustness scores changed images: it needs a run")
    if config.keep:
        raise UsageError("--keep stores something with a run: there is none")
    if config.calibrate == PRIOR:
        raise UsageError(
            "--calibrate prior is of a run, whose training is known: temperature, platt and "
            "isotonic are fitted to --valid-predictions"
        )
    if config.prevalence is not None and config.calibrate in (None, "none"):
        raise UsageError(
            "--prevalence moves calibrated probabilities: give --calibrate platt and "
            "--valid-predictions"
        )
    chosen = config.operating_point or config.calibrate not in (None, NO_CALIBRATION)
    if (chosen or config.triage or config.family) and not config.valid_predictions:
        raise UsageError(
            "--operating-point, --triage and --calibrate are chosen on other images: give the "
            "model's scores of those with --valid-predictions"
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


def _chosen(
    config: EvaluateConfig, files: Sequence[Path], samples: list[Sample], reporter: Reporter
) -> tuple[list[Chosen], list[str]]:
    """What is chosen on --valid-predictions, for each file and for their mean."""
    if not config.valid_predictions:
        return [], []
    plain = replace(config, by="none")
    truth = config.valid_truth or config.truth
    tables = read_samples(config.valid_predictions, truth, plain)
    valid = tables.samples
    for note in tables.notes:
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
    wanted = Wanted.of(config.operating_point or "youden", config.triage, config.family)
    wanted.check_family(config.family)
    moved = wanted_prevalences(config.prevalence, tuple(labels)) or {}
    return [choose_on(sample, VALID, wanted, config.calibrate, moved) for sample in valid], warnings


def _refuse_other_scale(path: Path, valid: Sample, sample: Sample) -> None:
    """A threshold is a score: one chosen among probabilities says nothing about logits."""
    if valid.probabilities != sample.probabilities:
        lie = {True: "lie between 0 and 1", False: "do not all lie between 0 and 1"}
        raise DataError(
            f"{path}: its scores {lie[valid.probabilities]}, those that its thresholds are for "
            f"{lie[sample.probabilities]}: give both on one scale, as the model writes them"
        )


def _names(files: Sequence[Path]) -> list[str]:
    """What tells the files apart: their names, or so much of their paths as is needed."""
    for parts in range(1, 20):
        names = [str(Path(*path.parts[-parts:])) for path in files]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(files, start=1)]


def _write(
    folder: Path,
    scored: Sequence[Scored],
    differences: Sequence[PairedDifferences],
    config: EvaluateConfig,
) -> list[Path]:
    """Each model's files in a folder of its own, where there are several."""
    written = []
    with claimed_folder(folder, force=config.force):
        places = _places([one.result.run for one in scored])
        for one in scored:
            place = folder
            if len(scored) > 1:
                place = folder / places[one.result.run]
                place.mkdir(exist_ok=True)
            if config.report:
                drawn = draw_scores(one, place / "figures")
                written.append(place / "report.html")
                card = Card(title=one.result.run, failures=worst_failures(one))
                write_report(one.result, card, drawn, written[-1])
            written += write_scores(one.result, place / "metrics.json")
        if differences:
            written.append(folder / "differences.json")
            write_json(written[-1], {"differences": plain(differences)})
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
