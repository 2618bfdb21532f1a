"""The commands: thin, each over one workflow that is imported when it is called."""

import os
import sys
from typing import Annotated

import typer

from cxrtool import __version__
from cxrtool.cli.command import Call, command
from cxrtool.cli.suggestions import SuggestingGroup
from cxrtool.core.config import (
    CertifyConfig,
    CompareConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    FeaturesConfig,
    GuiConfig,
    ListenConfig,
    ModelsConfig,
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
from cxrtool.core.terminal import NAME, program

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
    help="Images, folders, globs, or CSV files with a path column; or a DICOMweb archive, as "
    "dicomweb:URL, with --query.",
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
    """From a folder of chest X-rays to a tested model. Research software, not a medical
    device."""


@command(app, PrepareConfig, PREPARING)
def prepare(config: PrepareConfig, call: Call) -> None:
    """Check a data set and its images; write the manifest and the image cache."""
    from cxrtool.cli.show import data as show
    from cxrtool.workflows.prepare import prepare_manifest

    result = prepare_manifest(config, call.workspace, call.reporter)
    show.prepared(result, call.workspace, call.common)


@command(app, SplitConfig, PREPARING)
def split(config: SplitConfig, call: Call) -> None:
    """Split the data into train, valid and test, with balanced labels."""
    from cxrtool.cli.show import data as show
    from cxrtool.workflows.split import split_manifest

    result = split_manifest(config, call.workspace, seed=call.seed, reporter=call.reporter)
    show.was_split(result, call.workspace, call.common)


@command(app, TrainConfig, TRAINING)
def train(config: TrainConfig, call: Call) -> None:
    """Train a network. The test part is never read."""
    from cxrtool.cli.show import results as show

    workspace, seed, reporter = call.workspace, call.seed, call.reporter
    workspace.need(workspace.manifest, "prepare")
    workspace.need(workspace.split, "split")
    with reporter.busy("loading torch and fastai"):
        from cxrtool.training.choices import refuse_frozen
        from cxrtool.workflows.train import train_model
        from cxrtool.workflows.train_dry_run import plan_training
        from cxrtool.workflows.train_lr_find import find_rate

    refuse_frozen(config, call.typed)
    if config.resume is None and config.dry_run:
        plan = plan_training(config, workspace, seed=seed, reporter=reporter)
        show.planned(plan, call.common)
    elif config.resume is None and config.lr_find:
        show.rates_tried(find_rate(config, workspace, seed=seed, reporter=reporter), call.common)
    else:
        result = train_model(config, workspace, seed=seed, given=call.given, reporter=reporter)
        if result.writes:
            show.trained(result, call.common)


@command(app, ModelsConfig, TRAINING)
def models(config: ModelsConfig, call: Call) -> None:
    """List published weights to start from, show one, or fetch some."""
    from cxrtool.cli.show import models as show
    from cxrtool.workflows.models import FETCH, SHOW, fetch_models, list_starts, show_start

    if config.action is None:
        show.listed(list_starts(), call.common)
    elif config.action == FETCH:
        show.fetched(fetch_models(config, call.reporter), call.common)
    elif config.action == SHOW:
        if len(config.names or ()) != 1:
            raise UsageError("models show: name one start; `cxrtool models` lists them")
        show.shown(show_start((config.names or [""])[0]), call.common)


@command(app, FeaturesConfig, TRAINING)
def features(config: FeaturesConfig, call: Call) -> None:
    """Compute what a frozen network makes of all images, once, for train --recipe probe."""
    from cxrtool.cli.show import results as show

    workspace, reporter = call.workspace, call.reporter
    workspace.need(workspace.manifest, "prepare")
    workspace.need(workspace.split, "split")
    with reporter.busy("loading torch and fastai"):
        from cxrtool.workflows.features import keep_features

    result = keep_features(config, workspace, seed=call.seed, reporter=reporter)
    show.kept_features(result, config, call.common)


@command(app, TuneConfig, TRAINING, without=("dry_run", "lr_find"))
def tune(config: TuneConfig, call: Call) -> None:
    """Search for the best options of train. The test part is never read."""
    from cxrtool.cli.show import results as show

    workspace, reporter = call.workspace, call.reporter
    workspace.need(workspace.manifest, "prepare")
    workspace.need(workspace.split, "split")
    with reporter.busy("loading torch and Optuna"):
        from cxrtool.training.choices import refuse_frozen
        from cxrtool.workflows.tune import tune_model

    refuse_frozen(config, call.typed)
    result = tune_model(config, workspace, seed=call.seed, given=call.given, reporter=reporter)
    show.searched(result, call.common)


@command(app, EvaluateConfig, EVALUATING)
def evaluate(config: EvaluateConfig, call: Call) -> None:
    """Score a run, or predictions of any model, against the truth."""
    from cxrtool.cli.show import scores as show
    from cxrtool.workflows.evaluate import evaluate_run

    if config.predictions:
        from cxrtool.workflows.evaluate_tables import evaluate_tables

        found = evaluate_tables(config, seed=call.seed, reporter=call.reporter)
        show.evaluated_tables(found, call.common)
    elif config.data:
        from cxrtool.cli.show.external import evaluated_elsewhere
        from cxrtool.workflows.external import evaluate_external

        elsewhere = evaluate_external(
            config, call.workspace, seed=call.seed, reporter=call.reporter
        )
        evaluated_elsewhere(elsewhere, call.common)
    else:
        result = evaluate_run(config, call.workspace, seed=call.seed, reporter=call.reporter)
        show.evaluated(result, call.common)


@command(app, CertifyConfig, EVALUATING)
def certify(config: CertifyConfig, call: Call) -> None:
    """Choose a run's certified thresholds anew, on images of the place where it is used."""
    from cxrtool.cli.show.certificates import certified
    from cxrtool.workflows.certify import certify_run

    certified(certify_run(config, call.workspace, reporter=call.reporter), call.common)


@command(app, CompareConfig, EVALUATING, arguments=[RUNS])
def compare(config: CompareConfig, call: Call, runs: list[str]) -> None:
    """Compare runs, or predictions of any models, side by side."""
    from cxrtool.cli.show import scores as show
    from cxrtool.workflows.compare import compare_runs

    result = compare_runs(config, runs, call.workspace, seed=call.seed, reporter=call.reporter)
    show.compared(result, config, call.common)


@command(app, PredictConfig, USING, arguments=[INPUTS])
def predict(config: PredictConfig, call: Call, inputs: list[str]) -> None:
    """Predict the probability of each finding in images."""
    from cxrtool.cli.show import predictions as show

    with call.reporter.busy("loading"):
        from cxrtool.workflows.predict import predict_images

    if call.common.json and config.json_lines:
        raise UsageError("--json is one object, --json-lines one a row: give one of them")
    printer = None
    if config.output is None and not call.common.json:
        printer = show.Printer(
            json_lines=config.json_lines, alone=config.heatmaps is None and config.dicom is None
        )
    result = predict_images(config, inputs, call.workspace, call.reporter, printer)
    show.predicted(result, printer, call.common)
    if result.failed or (result.dicom and result.dicom.incomplete):
        raise typer.Exit(1)


@command(app, GuiConfig, USING)
def gui(config: GuiConfig, call: Call) -> None:
    """Serve a page where X-rays are read with their findings, and the same over HTTP."""
    from cxrtool.cli.show import results as show

    with call.reporter.busy("loading"):
        from cxrtool.workflows.gui import open_page

    with open_page(config, call.workspace, call.reporter) as page:
        show.opened(page, call.common)
        page.serve()


@command(app, ListenConfig, USING)
def listen(config: ListenConfig, call: Call) -> None:
    """Take studies from a PACS or a folder, and send each one's results back as DICOM."""
    from cxrtool.cli.show import listen as show

    with call.reporter.busy("loading"):
        from cxrtool.workflows.listen import open_listener

    with open_listener(config, call.workspace, call.reporter) as listener:
        show.opened(listener, call.common)
        listener.serve()


@command(app, ExportConfig, USING)
def export(config: ExportConfig, call: Call) -> None:
    """Export a run as one ONNX file, compared with the run."""
    from cxrtool.cli.show import results as show

    with call.reporter.busy("loading"):
        from cxrtool.workflows.export import export_run

    show.exported(export_run(config, call.workspace, call.reporter), call.common)


@command(app, RunsConfig, OTHERS)
def runs(config: RunsConfig, call: Call) -> None:
    """List the runs with settings, scores and sizes; remove some, or pack one."""
    from cxrtool.cli.show import results as show
    from cxrtool.workflows.clear_runs import PACK, REMOVE, remove_runs, slim_runs
    from cxrtool.workflows.runs import list_runs

    if config.action != PACK and (config.output is not None or config.force):
        raise UsageError("--output and --force belong to `runs pack`")
    if config.action == PACK:
        from cxrtool.workflows.pack_run import pack_run

        show.packed(pack_run(config, call.workspace, call.reporter), call.common)
    elif config.action is not None:
        clear = remove_runs if config.action == REMOVE else slim_runs
        show.cleared(clear(call.workspace, config.names or ()), call.common)
    else:
        show.listed(list_runs(call.workspace), call.workspace, call.common)


@command(app, DemoConfig, OTHERS)
def demo(config: DemoConfig, call: Call) -> None:
    """Run the whole chain on drawn X-rays; nothing is downloaded."""
    from cxrtool.cli.show import results as show

    with call.reporter.busy("loading torch and fastai"):
        from cxrtool.workflows.demo import draw_only, run_demo

    if config.only_data is not None:
        show.drawn(draw_only(config, seed=call.seed, reporter=call.reporter), call.common)
    else:
        show.demonstrated(run_demo(config, seed=call.seed, reporter=call.reporter), call.common)


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
