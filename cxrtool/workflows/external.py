"""`evaluate --data`: a run on other data sets, beside its own test part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrtool.core.config import EvaluateConfig, PrepareConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.core.files import sha256
from cxrtool.core.json_files import write_json
from cxrtool.core.names import plain_name
from cxrtool.core.run_cards import RunCard, read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.external_data import LeftOut, look_at_data, refuse_missing
from cxrtool.data.manifest import read_manifest
from cxrtool.evaluation.choices import Chosen
from cxrtool.evaluation.external import ExternalResult, ExternalSet, InternalSet, differences
from cxrtool.evaluation.run_part import Part, choose_external, choose_part, own_workspace
from cxrtool.evaluation.run_points import chosen_points
from cxrtool.evaluation.scoring import Scored, tell_of_each
from cxrtool.evaluation.shared_labels import LabelCells, SharedLabels
from cxrtool.inference.part_scores import score_part
from cxrtool.networks.published_runs import run_of
from cxrtool.reports.files import write_evaluation
from cxrtool.workflows.prepare import prepare_manifest

WITH_TABLES = ("predictions", "truth", "key", "valid_predictions", "valid_truth", "output")
"""The options that go with tables of predictions."""


@dataclass(frozen=True)
class OtherData:
    """Another data set, prepared."""

    name: str
    workspace: Workspace
    left_out: LeftOut


@dataclass(frozen=True)
class _Internal:
    """The run on a part of its own data."""

    scored: Scored
    told: InternalSet


@dataclass(frozen=True)
class ScoredRun:
    """The run that is scored, and where it is from."""

    run: RunFolder
    card: RunCard
    own: Workspace | None
    """Where it was trained, if that is here."""
    home: Workspace
    """Where other data sets are prepared."""
    views: tuple[str, ...]
    """Those of the images of its training; none where these are not known."""


@dataclass(frozen=True)
class _Scoring:
    """How all of the data are scored, the run's own and others."""

    config: EvaluateConfig
    chosen: Chosen
    seed: int
    reporter: Reporter

    def score(self, part: Part) -> Scored:
        """The run on one of them."""
        return score_part(
            *(part, self.config, self.chosen.point, self.chosen.calibration, self.chosen.triage),
            seed=self.seed,
            reporter=self.reporter,
        )


def evaluate_external(
    config: EvaluateConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> ExternalResult:
    """Score a run on other data sets, with its own thresholds, beside a part of its own data.

    A folder of data is prepared in the run's workspace, once; nothing is written into it. All
    data sets are looked at before the first image is scored.

    Raises:
        UsageError: options that do not go together, or a data set twice.
        RunError: no such run, or it is incomplete or altered.
        DataError: no data set, no label in common, too many images missing, the run's own data, or
            patients that it was trained on.
    """
    given = [f"--{name.replace('_', '-')}" for name in WITH_TABLES if getattr(config, name)]
    if given:
        raise UsageError(
            f"{first_few(given)}: goes with --predictions; --data scores a run, and its files are "
            "written into its folder"
        )
    if config.readers or config.robustness:
        raise UsageError("--readers and --robustness are of one set of images: leave --data out")
    model = open_run(config, workspace, reporter)
    sets = _sets(config, model, reporter)
    parts = [
        choose_external(model.run, model.card, one.workspace, one.name, config, reporter)
        for one in sets
    ]
    chosen = chosen_points(model.run, model.card, model.own or model.home, config)
    scoring = _Scoring(config, chosen, seed, reporter)
    common = {label for _, labels in parts for label in labels.common}
    internal = _internal(scoring, model, [one for one in model.card.labels if one in common])
    named = [(f"own {config.split}", internal.scored)] if internal else []
    found, written = [], []
    for one, (part, labels) in zip(sets, parts, strict=True):
        part = with_warnings(part, one, model, reporter)
        scored = scoring.score(part)
        named.append((one.name, scored))
        found.append(_of_set(one, part, labels, scored, internal))
        with reporter.busy("drawing"):
            written += write_evaluation(
                scored, part, reporter, report=config.report, show_images=config.show_images
            )
        written.append(part.place.metrics(f"{part.stem}-beside"))
        write_json(written[-1], _result(model, internal, found[-1:]).as_json())
    tell_of_each(named, reporter)
    return replace(_result(model, internal, found), written=tuple(written))


def _result(
    model: ScoredRun, internal: _Internal | None, sets: Sequence[ExternalSet]
) -> ExternalResult:
    own = internal.told if internal else None
    return ExternalResult(run=model.run.name, internal=own, sets=tuple(sets))


def _of_set(
    data: OtherData, part: Part, labels: SharedLabels, scored: Scored, internal: _Internal | None
) -> ExternalSet:
    return ExternalSet(
        name=data.name,
        labels=labels,
        cells=LabelCells.of(part.rows, labels.common, part.info.blank),
        unusable=data.left_out.unusable,
        other_views=data.left_out.other_views,
        result=scored.result,
        differences=differences(internal.scored, scored) if internal else None,
    )


def open_run(config: EvaluateConfig, workspace: Workspace, reporter: Reporter) -> ScoredRun:
    """The run that is meant, and where it was trained.

    Raises:
        RunError: no such run, or it is incomplete or altered.
    """
    run = run_of(workspace.runs, config.run, reporter)
    card = read_card(run)
    own = own_workspace(run, card, workspace)
    views = read_manifest(own.manifest)["view"].unique().tolist() if own is not None else []
    return ScoredRun(run, card, own, own or workspace, tuple(sorted(views)))


def _internal(scoring: _Scoring, model: ScoredRun, labels: Sequence[str]) -> _Internal | None:
    """The run on a part of its own data, never on what it was trained on; None: not possible.

    Of the labels alone that some of the other data sets have.
    """
    config, reporter = scoring.config, scoring.reporter
    if model.own is None:
        if model.card.published is None:
            reporter.warn(
                f"the data that {model.run.name} was trained with are not here: no scores on them "
                "stand beside (-w names their workspace)"
            )
        return None
    try:
        part = choose_part(model.run, replace(config, force=False), model.own, reporter)
        scored = scoring.score(replace(part, labels=tuple(labels)))
    except DataError as error:
        reporter.warn(f"no scores on the run's own data stand beside: {error}")
        return None
    cells = LabelCells.of(part.rows, labels, part.info.blank)
    return _Internal(scored, InternalSet(cells=cells, result=scored.result))


def _sets(config: EvaluateConfig, model: ScoredRun, reporter: Reporter) -> list[OtherData]:
    """All data sets, prepared, each with a name of its own."""
    places = config.data or []
    resolved = [place.resolve() for place in places]
    twice = sorted({str(place) for place in resolved if resolved.count(place) > 1})
    if twice:
        raise UsageError(f"--data {first_few(twice)} is given twice: name each data set once")
    for place in places:
        if not place.exists():
            raise DataError(f"--data {place}: there is no such folder, table or workspace")
    names = [place.name or "data" for place in resolved]
    sets = []
    for place, name in zip(places, names, strict=True):
        if names.count(name) > 1:
            name = f"{name}-{_digest(str(place.resolve()))}"
        sets.append(prepare_other(place, name, config, model, reporter))
    return sets


def prepare_other(
    place: Path, name: str, config: EvaluateConfig, model: ScoredRun, reporter: Reporter
) -> OtherData:
    """A data set as a workspace: its own where it is one, else one in the run's workspace.

    Raises:
        DataError: no data set, too many images missing, or the run's own data.
        UsageError: a format beside a workspace.
    """
    workspace = Workspace(place)
    if workspace.data_info.is_file() and workspace.manifest.is_file():
        if config.format != EvaluateConfig.format:
            raise UsageError(f"--format {config.format}: {place} is a workspace, and prepared")
        _refuse_own(place, workspace, model)
        paths = read_manifest(workspace.manifest)["path"].tolist()
        refuse_missing(workspace.read_data_info().folder, paths)
        return OtherData(name, workspace, LeftOut.of(workspace))
    own = model.own and model.own.read_data_info().asked["data"]
    if own and Path(own).resolve() == place.resolve():
        raise DataError(_its_own(place, model))
    prepare = PrepareConfig(
        data=place,
        format=config.format,
        views=_views(model),
        cache=False,
        workers=config.workers,
    )
    with reporter.busy("reading the tables"):
        state = look_at_data(prepare)
    key = _digest(f"{place.resolve()} {config.format} {prepare.views}")
    workspace = Workspace(model.home.external / f"{plain_name(name)}-{key}")
    if state.is_of(workspace):
        reporter.note(f"{name} is prepared, and unchanged: {workspace.folder}")
    else:
        prepare_manifest(prepare, workspace, reporter)
        state.seal(workspace)
    _refuse_own(place, workspace, model)
    return OtherData(name, workspace, LeftOut.of(workspace))


def _refuse_own(place: Path, workspace: Workspace, model: ScoredRun) -> None:
    if sha256(workspace.manifest) == model.card.manifest_sha256:
        raise DataError(_its_own(place, model))


def _its_own(place: Path, model: ScoredRun) -> str:
    return (
        f"{place} is what {model.run.name} was trained with, and its test part is what "
        f"`cxrtool evaluate {model.run.name}` scores: name another data set"
    )


def _views(model: ScoredRun) -> str:
    """The views that the run was trained on, as `prepare` takes them."""
    if not model.views:
        return PrepareConfig.views
    return model.views[0] if model.views in (("frontal",), ("lateral",)) else "all"


def with_warnings(part: Part, data: OtherData, model: ScoredRun, reporter: Reporter) -> Part:
    """The part with what is to be known of how its data were prepared."""
    warnings = []
    other = sorted(set(part.rows["view"]) - set(model.views))
    if other and model.views:
        warnings.append(
            f"{data.name} has {' and '.join(other)} views, and {model.run.name} was trained on "
            f"{' and '.join(model.views)} ones"
        )
    if data.left_out.unusable:
        found = f"{counted(data.left_out.unusable, 'row')} of {data.name} left out"
        listed = data.workspace.problems.relative_to(data.workspace.folder.parent)
        warnings.append(f"{found}, as rows or images that cannot be used: {listed} names them")
    for text in warnings:
        reporter.warn(text)
    return replace(part, warnings=(*part.warnings, *warnings))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
