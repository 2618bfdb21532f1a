"""The commands: thin, each over one workflow that is imported when it is called."""

import os
import sys
from typing import Annotated

import typer

from cxrtool import __version__
from cxrtool.cli.command import command
from cxrtool.cli.suggestions import SuggestingGroup
from cxrtool.core.called import NAME, program
from cxrtool.core.config import (
    CommonConfig,
    CompareConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    GuiConfig,
    PredictConfig,
    PrepareConfig,
    RunsConfig,
    SplitConfig,
    TrainConfig,
    TuneConfig,
)
from cxrtool.core.config.option import DATA, Option
from cxrtool.core.errors import UsageError
from cxrtool.core.streams import flush_results, keep_streams

# Workflows are imported inside the commands: torch, fastai and pandas take seconds to import.

# The groups of the commands in the program's help: the steps of the work.
PREPARING = "Prepare data"
TRAINING = "Train"
EVALUATING = "Evaluate"
USING = "Use a run"
OTHERS = "Manage runs, try out"

RUNS = Option(
    name="runs",
    panel=DATA,
    help="Runs, or tables of predictions (CSV, with --truth).",
    metavar="RUN",
    argument=True,
    several=True,
)
INPUTS = Option(
    name="inputs",
    panel=DATA,
    help="Images, folders, globs, or CSV files with a path column.",
    metavar="INPUT",
    argument=True,
    several=True,
)

app = typer.Typer(
    name="cxrtool",
    cls=SuggestingGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxrtool {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From a folder of chest X-rays to a tested model. Research software, no medical device."""


@command(app, PrepareConfig, PREPARING)
def prepare(config: PrepareConfig, common: CommonConfig) -> None:
    """Check a data set and its images, and say what it holds."""
    from cxrtool.cli.show import data as show
    from cxrtool.core.workspace import Workspace
    from cxrtool.workflows.prepare import prepare_manifest

    workspace = Workspace(common.workspace)
    result = prepare_manifest(config, workspace, show.reporter(common))
    show.prepared(result, workspace, common)


@command(app, SplitConfig, PREPARING)
def split(config: SplitConfig, common: CommonConfig) -> None:
    """Split into train, valid and test, labels balanced."""
    from cxrtool.cli.show import data as show
    from cxrtool.core.workspace import Workspace
    from cxrtool.workflows.split import split_manifest

    workspace = Workspace(common.workspace)
    result = split_manifest(config, workspace, seed=common.seed, reporter=show.reporter(common))
    show.was_split(result, workspace, common)


@command(app, TrainConfig, TRAINING)
def train(
    config: TrainConfig, common: CommonConfig, given: frozenset[str], typed: frozenset[str]
) -> None:
    """Train a network; the test part is never read."""
    from cxrtool.cli.show import data as show
    from cxrtool.core.workspace import Workspace

    workspace, reporter = Workspace(common.workspace), show.reporter(common)
    workspace.need(workspace.manifest, "prepare")
    workspace.need(workspace.split, "split")
    with reporter.busy("loading torch and fastai"):
        from cxrtool.training.setup import refuse_frozen
        from cxrtool.workflows.train import train_model
        from cxrtool.workflows.train_dry_run import plan_training
        from cxrtool.workflows.train_lr_find import find_rate

    refuse_frozen(config, typed)
    if config.resume is None and config.dry_run:
        show.planned(plan_training(config, workspace, seed=common.seed, reporter=reporter), common)
    elif config.resume is None and config.lr_find:
        show.rates_tried(find_rate(config, workspace, seed=common.seed, reporter=reporter), common)
    else:
        result = train_model(config, workspace, seed=common.seed, given=given, reporter=reporter)
        if result.writes:
            show.trained(result, common)


@command(app, TuneConfig, TRAINING, without=("dry_run", "lr_find"))
def tune(
    config: TuneConfig, common: CommonConfig, given: frozenset[str], typed: frozenset[str]
) -> None:
    """Search for the best options of train; test is never read."""
    from cxrtool.cli.show import data as show
    from cxrtool.cli.show import search as show_tune
    from cxrtool.core.workspace import Workspace

    workspace, reporter = Workspace(common.workspace), show.reporter(common)
    workspace.need(workspace.manifest, "prepare")
    workspace.need(workspace.split, "split")
    with reporter.busy("loading torch and Optuna"):
        from cxrtool.training.setup import refuse_frozen
        from cxrtool.workflows.tune import tune_model

    refuse_frozen(config, typed)
    result = tune_model(
        config,
        workspace,
        seed=common.seed,
        given=given,
        reporter=reporter,
    )
    show_tune.searched(result, common)


@command(app, EvaluateConfig, EVALUATING)
def evaluate(config: EvaluateConfig, common: CommonConfig) -> None:
    """Score a run on a part of the split, or anybody's predictions."""
    from cxrtool.cli.show import data as show
    from cxrtool.cli.show import scores as show_scores
    from cxrtool.core.workspace import Workspace
    from cxrtool.workflows.evaluate import evaluate_run

    if config.predictions:
        from cxrtool.workflows.evaluate_tables import evaluate_tables

        found = evaluate_tables(config, seed=common.seed, reporter=show.reporter(common))
        show_scores.evaluated_tables(found, common)
        return
    workspace = Workspace(common.workspace)
    result = evaluate_run(config, workspace, seed=common.seed, reporter=show.reporter(common))
    show_scores.evaluated(result, common)


@command(app, CompareConfig, EVALUATING, arguments=[RUNS])
def compare(config: CompareConfig, common: CommonConfig, runs: list[str]) -> None:
    """Runs, or anybody's predictions, side by side."""
    from cxrtool.cli.show import data as show
    from cxrtool.cli.show import scores as show_scores
    from cxrtool.core.workspace import Workspace
    from cxrtool.workflows.compare import compare_runs

    workspace = Workspace(common.workspace)
    result = compare_runs(config, runs, workspace, seed=common.seed, reporter=show.reporter(common))
    show_scores.compared(result, config, common)


@command(app, PredictConfig, USING, arguments=[INPUTS])
def predict(config: PredictConfig, common: CommonConfig, inputs: list[str]) -> None:
    """Each finding's probability and decision for images."""
    from cxrtool.cli.show import data as show
    from cxrtool.cli.show import predictions as show_predict
    from cxrtool.core.workspace import Workspace

    workspace, reporter = Workspace(common.workspace), show.reporter(common)
    with reporter.busy("loading"):
        from cxrtool.workflows.predict import predict_images

    if common.json and config.json_lines:
        raise UsageError("--json is one object, --json-lines one a row: give one of them")
    streams = config.output is None and not common.json
    printer = (
        show_predict.Printer(json_lines=config.json_lines, alone=config.heatmaps is None)
        if streams
        else None
    )
    result = predict_images(config, inputs, workspace, reporter, printer)
    show_predict.predicted(result, printer, common)
    if result.failed:
        raise typer.Exit(1)


@command(app, GuiConfig, USING)
def gui(config: GuiConfig, common: CommonConfig) -> None:
    """A local page: drop images, read findings and heat maps."""
    from cxrtool.cli.show import data as show
    from cxrtool.cli.show import page as show_gui
    from cxrtool.core.workspace import Workspace

    workspace, reporter = Workspace(common.workspace), show.reporter(common)
    with reporter.busy("loading"):
        from cxrtool.workflows.gui import open_page

    with open_page(config, workspace, reporter) as page:
        show_gui.opened(page, common)
        page.serve()


@command(app, ExportConfig, USING)
def export(config: ExportConfig, common: CommonConfig) -> None:
    """A run as one ONNX file, checked against the run."""
    from cxrtool.cli.show import data as show
    from cxrtool.cli.show import export as show_export
    from cxrtool.core.workspace import Workspace

    workspace, reporter = Workspace(common.workspace), show.reporter(common)
    with reporter.busy("loading"):
        from cxrtool.workflows.export import export_run

    show_export.exported(export_run(config, workspace, reporter), common)


@command(app, RunsConfig, OTHERS)
def runs(config: RunsConfig, common: CommonConfig) -> None:
    """List the runs: settings, epochs, scores, size; or remove."""
    from cxrtool.cli.show import data as show
    from cxrtool.core.workspace import Workspace
    from cxrtool.workflows.clear_runs import REMOVE, remove_runs, slim_runs
    from cxrtool.workflows.runs import list_runs

    workspace = Workspace(common.workspace)
    if config.action is not None:
        clear = remove_runs if config.action == REMOVE else slim_runs
        show.cleared(clear(workspace, config.names or ()), common)
        return
    show.listed(list_runs(workspace), workspace, common)


@command(app, DemoConfig, OTHERS)
def demo(config: DemoConfig, common: CommonConfig) -> None:
    """The whole chain on drawn X-rays; nothing is downloaded."""
    from cxrtool.cli.show import data as show

    reporter = show.reporter(common)
    with reporter.busy("loading torch and fastai"):
        from cxrtool.workflows.demo import draw_only, run_demo

    if config.only_data is not None:
        show.drawn(draw_only(config, seed=common.seed, reporter=reporter), common)
    else:
        show.demonstrated(run_demo(config, seed=common.seed, reporter=reporter), common)


def main() -> None:
    """The console script."""
    # Typer colours help through environment variables of CI systems; plain text is what we promise.
    os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")
    keep_streams()
    name = None if program().endswith(f" -m {NAME}") else program()
    if any(word.endswith("-completion") for word in sys.argv[1:2]):
        name = NAME  # the word that a shell completes, wherever the program lies
    try:
        app(prog_name=name, complete_var=f"_{NAME.upper()}_COMPLETE")
    except SystemExit as end:
        failure = flush_results()
        if failure is not None and not end.code:
            from cxrtool.core.console import print_error

            print_error(f"stdout: {failure.strerror}: the result could not be written there")
            sys.exit(1)
        raise
