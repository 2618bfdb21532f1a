"""What each command prints of its result: tables for people, one JSON object for scripts."""

from __future__ import annotations

import shlex
import sys
import textwrap
from typing import TYPE_CHECKING

from cxrtool.cli.show import predictions as show_predict
from cxrtool.cli.show import scores as show_scores
from cxrtool.core.config import CommonConfig, FeaturesConfig, options_of
from cxrtool.core.console import (
    PLAIN_WIDTH,
    next_command,
    print_json,
    print_line,
    print_table,
    table,
    without_tables,
)
from cxrtool.core.errors import counted, first_few
from cxrtool.core.numbers import duration, megabytes, number

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.core.workspace import Workspace
    from cxrtool.data.phantoms import DrawnDataset
    from cxrtool.workflows.clear_runs import ClearResult
    from cxrtool.workflows.demo import DemoResult
    from cxrtool.workflows.export import ExportResult
    from cxrtool.workflows.features import FeaturesResult
    from cxrtool.workflows.gui import Page
    from cxrtool.workflows.pack_run import PackResult
    from cxrtool.workflows.runs import ListedRun
    from cxrtool.workflows.train import TrainResult
    from cxrtool.workflows.train_dry_run import PlanResult
    from cxrtool.workflows.train_lr_find import RatesResult
    from cxrtool.workflows.tune import TuneResult


NAME_WIDTH = 39
"""Of a run's name, beside five columns of figures within 80."""


def trained(result: TrainResult, common: CommonConfig) -> None:
    """What a training came to."""
    if without_tables(result, common):
        return
    print_line(
        f"best {'fit' if result.fitted else 'epoch'} {result.best_epoch} of {result.epochs}: "
        f"valid mean AUROC {number(result.valid_mean_auroc, 4)}"
    )
    print_line(f"written: {result.run.path} ({result.seconds:.0f} s)")
    next_command(f"evaluate {shlex.quote(result.run.name)}", common)


def kept_features(result: FeaturesResult, config: FeaturesConfig, common: CommonConfig) -> None:
    """What a network makes of all images, and where it is."""
    if without_tables(result, common):
        return
    views = f", {counted(result.views, 'augmented view')} besides the plain one"
    print_line(
        f"{counted(result.images, 'image')}, {result.width:,} features each"
        f"{views if result.views else ''}: {result.bytes / 2**20:,.0f} MiB"
    )
    print_line(f"written: {result.folder}" if result.images_per_second else f"in {result.folder}")
    given = shlex.join(_as_typed(config))
    next_command(f"train --recipe probe {given}".rstrip(), common)


def _as_typed(config: FeaturesConfig) -> list[str]:
    """The options that `train` needs to find the same features."""
    typed = []
    for name, option in options_of(FeaturesConfig).items():
        value = getattr(config, name)
        if value != option.default and name not in ("workers", "threads", "device"):
            typed += [option.written] if value is True else [option.written, str(value)]
    return typed


def planned(result: PlanResult, common: CommonConfig) -> None:
    """What a training would be."""
    if without_tables(result, common, needed=True):
        return
    train, valid = result.images["train"], result.images["valid"]
    print_line(
        f"{result.arch}, {len(result.labels)} labels, {train:,} training and {valid:,} valid "
        f"images; {result.batches:,} batches of {result.batch_size} an epoch"
    )
    _sampling(result)
    parts = ", ".join(f"{name} {count:,}" for name, count in result.blocks.items())
    print_line(f"weights: {parts}")
    rows = [
        [
            phase.phase,
            f"{phase.epochs}",
            f"{phase.trained:,}",
            duration(phase.seconds_per_epoch),
            duration(phase.epochs * phase.seconds_per_epoch),
        ]
        for phase in result.phases
    ]
    figures = ("epochs", "weights trained", "an epoch", "all")
    columns = {"phase": "left", **dict.fromkeys(figures, "right")}
    print_table(table("Phases, estimated from a few batches", columns, rows))
    print_line(
        f"about {duration(result.seconds)} in all on {result.device} at {result.precision}, if it "
        "does not stop early"
    )
    print_line(
        f"memory: {result.memory_bytes / 2**30:.1f} GiB in those batches; disk: checkpoints of "
        f"{result.checkpoint_bytes / 2**20:,.0f} MiB while it trains"
    )
    print_line("nothing was written")


def _sampling(result: PlanResult) -> None:
    """Each label's share of the images and of what is drawn, where the two differ."""
    sampling = result.sampling
    if not sampling["changes"]:
        return
    rows = [
        [label, f"{shares['share']:.1%}", f"{shares['drawn']:.1%}"]
        for label, shares in sampling["labels"].items()
    ]
    columns = {"positive in": "left", "of the images": "right", "of those drawn": "right"}
    print_table(table("Weighted sampling, as expected of its weights", columns, rows))
    most = sampling["most_drawn"]
    held = f" ({sampling['images_at_cap']:,} images at the cap)" if sampling["cap"] else ""
    print_line(
        f"drawn most often: {most['path']}, {most['times_an_epoch']:.1f} times an epoch{held}"
    )


def rates_tried(result: RatesResult, common: CommonConfig) -> None:
    """What a learning-rate range test came to."""
    if without_tables(result, common, needed=True):
        return
    body = "" if result.body_lr is None else f" --body-lr {result.body_lr:.1e}"
    suggested = f"--lr {result.suggestion:.1e}{body}"
    print_line(f"suggested: {suggested} (of {result.steps} rates tried)")
    print_line(f"written: {result.figure}, {result.table}")
    if not common.quiet:
        print_line(f"next: the same command with {suggested} in place of --lr-find")


def searched(result: TuneResult, common: CommonConfig) -> None:
    """The trials, the best of them, and what to do with it."""
    if without_tables(result, common):
        return
    print_table(table(f"study {result.study}", result.columns, result.texts))
    if result.best is None:
        print_line("no trial was trained to its end")
        return
    print_line(
        f"best: trial {result.best['trial']}, mean AUROC {number(result.best['valid_mean_auroc'])} "
        f"on {result.selected_on}; the test part was not read"
    )
    print_line(f"written: {', '.join(str(path) for path in result.written)}")
    if result.best_is_here:
        command = f"evaluate {shlex.quote(str(result.best['run']))}"
    else:
        command = f"train --config {shlex.quote(str(result.written[0]))}"
    next_command(command, common)


def listed(runs: list[ListedRun], workspace: Workspace, common: CommonConfig) -> None:
    """Two lines a run: its scores, and what it is."""
    if common.json:
        print_json({"runs": [run.as_json() for run in runs]})
        return
    if not runs:
        print_line(workspace.missing() or f"no runs in {workspace.runs}")
        next_command("train", common)
        return
    print_line(_run_line("run", "epochs", "best", "valid", "test", "state"))
    print_line("  recipe, arch, policy of uncertain labels, when training last wrote to it, size")
    for run in runs:
        done, asked = ("?" if n is None else n for n in (run.epochs, run.epochs_asked))
        came = counted(run.epochs or 0, "fit") if run.fitted else f"{done}/{asked}"
        best = "n/a" if run.best_epoch is None else f"{run.best_epoch}"
        scores = number(run.valid_mean_auroc), number(run.test_mean_auroc)
        print_line(_run_line(run.run, came, best, *scores, run.state))
        for line in _what_it_is(run):
            print_line(line)
    print_line()
    print_line("best: epoch or fit; valid, test: mean AUROC")
    total, spare = (sum(getattr(run, name) for run in runs) for name in ("bytes", "spare_bytes"))
    freed = f"; `cxrtool runs slim` frees {megabytes(spare)}" if spare else ""
    print_line(f"{megabytes(total)} in all{freed}")
    following = _after_runs(runs)
    if following:
        next_command(following, common)


def cleared(result: ClearResult, common: CommonConfig) -> None:
    """How much of the disk is free again, run by run."""
    if without_tables(result, common):
        return
    what = "removed" if result.action == "rm" else "slimmed"
    for run, size in result.freed.items():
        print_line(f"{what}: {run}, {megabytes(size)}")
    print_line(f"{megabytes(sum(result.freed.values()))} freed")
    if result.left:
        why = "since their training is not finished"
        print_line(f"left as they are, {why}: {first_few(result.left)}")
    if result.action == "slim" and result.freed:
        print_line("`train --weights NAME` starts from a slimmed run; --resume needs a checkpoint")


def packed(result: PackResult, common: CommonConfig) -> None:
    """What may leave the house now, and what it can be checked by."""
    if without_tables(result, common):
        return
    print_line(f"packed: {result.output}, {megabytes(result.bytes)}, {len(result.files)} files")
    of = "" if result.output.suffix.lower() == ".zip" else f" of {result.output.name}/pack.json"
    print_line(f"SHA-256{of}: {result.sha256}")
    print_line("in it: weights, labels, thresholds, settings, scores; no patients, no paths")
    next_command(f"predict IMAGE --run {shlex.quote(str(result.output))}", common)


def _run_line(name: str, epochs: str, best: str, valid: str, test: str, state: str) -> str:
    """Figures in columns after the name; below it, where it is too long, so that it is whole."""
    figures = f"{epochs:>7}  {best:>4}  {valid:>5}  {test:>5}  {state}"
    if len(name) > NAME_WIDTH:
        return f"{name}\n{'':{NAME_WIDTH}}  {figures}"
    return f"{name:{NAME_WIDTH}}  {figures}"


def _what_it_is(run: ListedRun) -> list[str]:
    facts: list[str | None] = [] if run.study is None else [f"trial of {run.study}"]
    facts += [run.recipe or "own recipe", run.arch, run.policy] if run.arch else []
    facts += [f"fold {run.fold}"] if run.fold is not None else []
    facts += [f"{run.written:%Y-%m-%d %H:%M}", megabytes(run.bytes)]
    lines = [", ".join(str(part) for part in facts), *run.problems]
    return [
        textwrap.fill(
            line,
            PLAIN_WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    ]


def _after_runs(runs: list[ListedRun]) -> str | None:
    """The command that the latest run waits for that waits for one; trials wait for none."""
    trials = [run for run in runs if run.study is not None]
    runs = [run for run in runs if run.study is None]
    for state, command in (("unfinished", "train --resume"), ("finished", "evaluate")):
        waiting = [run for run in runs if run.state == state and run.test_mean_auroc is None]
        if waiting:
            return f"{command} {shlex.quote(waiting[-1].run)}"
    finished = [run for run in runs if run.state == "finished"]
    scored = [run for run in trials if run.state == "finished" and run.valid_mean_auroc is not None]
    if not finished and scored:
        best = max(scored, key=lambda run: run.valid_mean_auroc or 0)
        return f"evaluate {shlex.quote(best.run)}"
    return f"predict IMAGE --run {shlex.quote(finished[-1].run)}" if finished else None


def exported(result: ExportResult, common: CommonConfig) -> None:
    """Where it is, how it was checked, and what takes it."""
    if without_tables(result, common):
        return
    print_line(
        f"{result.run}: grey bytes (n, {result.image_size}, {result.image_size}) to probabilities "
        f"(n, {len(result.labels)})"
    )
    print_line(
        f"compared with the run on {counted(result.images, 'real image')}: no probability differs "
        f"by more than {result.difference:.1e}"
    )
    print_line(f"written: {result.output} ({megabytes(result.bytes)})")
    next_command(f"predict IMAGE --run {shlex.quote(str(result.output))}", common)


def opened(page: Page, common: CommonConfig) -> None:
    """The page's address; it is served from now on."""
    if not without_tables(page, common, needed=True):
        print_line(f"{page.url} shows {page.run} ({page.engine}); Ctrl-C ends it")
        print_line("Research software, not a medical device.")
    sys.stdout.flush()  # a script that waits for the address reads from a pipe


def drawn(result: DrawnDataset, common: CommonConfig) -> None:
    """Where the drawn data set is."""
    if without_tables(result, common):
        return
    print_line(
        f"{result.images:,} drawings ({result.frontal:,} frontal) of {result.patients:,} invented "
        f"patients in {result.folder}; boxes.csv says where each finding was drawn"
    )
    next_command(f"prepare {shlex.quote(str(result.folder))}", common)


def demonstrated(result: DemoResult, common: CommonConfig) -> None:
    """The scores of the demo's network, and what a linear model makes of thumbnails."""
    if without_tables(result, common):
        return
    show_scores.show_scores(result.evaluate)
    print_line(
        f"logistic regression on 16x16 thumbnails: mean AUROC {number(result.linear_mean_auroc)} "
        "over the same labels"
    )
    prediction = result.predict
    about = (prediction.model, prediction.labels, prediction.thresholds)
    for row in prediction.rows:
        show_predict.print_prediction(row, *about)
    print_line(f"drawn and labelled there: {', '.join(result.findings)}")
    print_line(
        f"All of this is a drawing: invented patients, drawn in {result.workspace}. "
        "The scores say that the chain works, and nothing about real X-rays."
    )
    if result.evaluate.written:
        print_line(f"the page to look at: {result.evaluate.written[0]}")
    print_line(f"{result.seconds:.0f} s in all")
    next_command("prepare PATH/TO/CheXpert-v1.0-small", common)
