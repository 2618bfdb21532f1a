"""What each command prints of its result: tables for people, one JSON object for scripts."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from cxrtool.config import CommonConfig, CompareConfig
from cxrtool.report import (
    PLAIN_WIDTH,
    Reporter,
    duration,
    next_command,
    number,
    on_terminal,
    print_json,
    print_line,
    print_table,
    print_text,
    table,
)

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.paper import PaperTable
    from cxrtool.workflows.compare import CompareResult
    from cxrtool.workflows.demo import DemoResult, DrawnResult
    from cxrtool.workflows.evaluate import EvaluateResult
    from cxrtool.workflows.evaluate_tables import TablesResult
    from cxrtool.workflows.list_runs import ListedRun
    from cxrtool.workflows.predict import PredictResult
    from cxrtool.workflows.prepare_record import PrepareResult
    from cxrtool.workflows.split import SplitResult
    from cxrtool.workflows.train import TrainResult
    from cxrtool.workflows.train_plan import PlanResult
    from cxrtool.workflows.train_rates import RatesResult
    from cxrtool.workspace import Workspace

TABLES_FOR = 3
"""Up to so many images get a table each."""
PREVALENCE_DIGITS = 2
LONGEST = 40
"""A longer cell of a table for papers is told below it."""
NAME_WIDTH = 39
"""Of a run's name, beside five columns of figures within 80."""


def reporter(common: CommonConfig) -> Reporter:
    """What a command reports through, as its options say."""
    return Reporter(quiet=common.quiet, verbose=common.verbose, progress=common.progress)


def _option(common: CommonConfig) -> str:
    """The -w option that the next command needs, if any."""
    usual = CommonConfig.workspace
    return "" if common.workspace == usual else f" -w {shlex.quote(str(common.workspace))}"


def prepared(result: PrepareResult, workspace: Workspace, common: CommonConfig) -> None:
    """The data set's counts."""
    if common.json:
        print_json(result.as_json())
        return
    print_line(
        f"{result.rows:,} rows read; {result.images:,} images of {result.patients:,} patients kept"
    )
    counts = [
        [name, value, f"{count:,}"]
        for name, values in (
            ("sex", result.sex),
            ("age", result.age),
            ("view", result.view),
            ("AP/PA", result.orientation),
        )
        for value, count in values.items()
    ]
    sides = {"column": "left", "value": "left", "rows": "right"}
    print_table(table("All rows read", sides, counts))
    kinds = ("positive", "negative", "uncertain", "blank")
    rows = [
        [label, *(f"{values[kind]:,}" for kind in kinds)] for label, values in result.labels.items()
    ]
    headings = {"label": "left", **dict.fromkeys(kinds, "right")}
    print_table(table("Images kept", headings, rows))
    if result.mean is None:
        print_line("pixels: not decoded, so training is not possible yet (--check-images full)")
    else:
        print_line(f"pixels: mean {result.mean:.4f}, standard deviation {result.std:.4f} (0 to 1)")
    if result.problems:
        found = [
            [kind, f"{count:,}", "kept" if kind in result.kept_problems else "left out"]
            for kind, count in result.problems.items()
        ]
        sides = {"problem": "left", "how many": "right", "rows or images": "left"}
        print_table(table(f"Problems, each in {workspace.problems}", sides, found))
    cache = f", cache at {result.cache_size} px" if result.cache_size else ""
    print_line(f"written: {workspace.manifest}, figures in {workspace.figures}{cache}")
    next_command(f"cxrtool split{_option(common)}")


def was_split(result: SplitResult, workspace: Workspace, common: CommonConfig) -> None:
    """Sizes, prevalences and how well they are balanced."""
    if common.json:
        print_json(result.as_json())
        return
    sizes = [
        [
            part,
            f"{images:,}",
            f"{100 * result.fractions[part]:.2f} %" if part in result.fractions else "apart",
            f"{result.patients[part]:,}",
        ]
        for part, images in result.sizes.items()
    ]
    columns = {"part": "left", "images": "right", "share": "right", "patients": "right"}
    print_table(table("Parts", columns, sizes))
    rows = [
        [label, *(f"{100 * share:.{PREVALENCE_DIGITS}f}" for share in shares.values())]
        for label, shares in result.prevalences.items()
    ]
    columns = {"label": "left", **dict.fromkeys(result.sizes, "right")}
    print_table(table("Positives in each part, % (U-Ones)", columns, rows))
    balance = [
        [name, f"{result.ld[policy]:.1e}", f"{result.lpd[policy]:.1e}"]
        for policy, name in (("zeros", "U-Zeros"), ("ones", "U-Ones"))
    ]
    columns = {"policy": "left", "LD (labels)": "right", "LPD (pairs)": "right"}
    print_table(table("Imbalance, 0 is perfect", columns, balance))
    print_line(f"patients in more than one part: {result.patients_in_two_splits:,}")
    if result.folds:
        sizes = result.folds["sizes"]
        ld, lpd = (result.folds[name]["ones"] for name in ("ld", "lpd"))
        print_line(
            f"{len(sizes)} folds of train and valid: {min(sizes):,} to {max(sizes):,} images, "
            f"LD {ld:.1e}, LPD {lpd:.1e} (U-Ones), "
            f"patients in more than one: {result.folds['patients_in_two_folds']:,}"
        )
    print_line(f"written: {workspace.split}")
    fold = " --fold 0" if result.folds else ""
    next_command(f"cxrtool train{fold}{_option(common)}")


def trained(result: TrainResult, common: CommonConfig) -> None:
    """What a training came to."""
    if common.json:
        print_json(result.as_json())
        return
    print_line(
        f"best epoch {result.best_epoch} of {result.epochs}: "
        f"valid mean AUROC {number(result.valid_mean_auroc, 4)}"
    )
    print_line(f"written: {result.run.path} ({result.seconds:.0f} s)")
    next_command(f"cxrtool evaluate {shlex.quote(result.run.name)}{_option(common)}")


def planned(result: PlanResult, common: CommonConfig) -> None:
    """What a training would be."""
    if common.json:
        print_json(result.as_json())
        return
    train, valid = result.images["train"], result.images["valid"]
    print_line(
        f"{result.arch}, {len(result.labels)} labels, {train:,} training and {valid:,} valid "
        f"images; {result.batches:,} batches of {result.batch_size} an epoch"
    )
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
    columns = {
        "phase": "left",
        "epochs": "right",
        "weights trained": "right",
        "an epoch": "right",
        "all": "right",
    }
    print_table(table("Phases, estimated from a few batches", columns, rows))
    print_line(
        f"about {duration(result.seconds)} in all on {result.device} at {result.precision}, if it "
        "does not stop early"
    )
    print_line(
        f"memory: {result.memory_bytes / 2**30:.1f} GiB in those batches; disk: checkpoints of "
        f"{result.checkpoint_bytes / 2**20:,.0f} MiB"
    )
    print_line("nothing was written")


def rates_tried(result: RatesResult, common: CommonConfig) -> None:
    """What a learning-rate range test came to."""
    if common.json:
        print_json(result.as_json())
        return
    body = "" if result.body_lr is None else f" --body-lr {result.body_lr:.1e}"
    suggested = f"--lr {result.suggestion:.1e}{body}"
    print_line(f"suggested: {suggested} (of {result.steps} rates tried)")
    print_line(f"written: {result.figure}, {result.table}")
    print_line(f"next: the same command with {suggested} in place of --lr-find")


def evaluated(result: EvaluateResult, common: CommonConfig) -> None:
    """The table of scores, and the protocol they were made by."""
    if common.json:
        print_json(result.as_json())
        return
    show_scores(result)
    if result.written:
        print_line(f"written: {result.written[0]}")
    next_command(f"cxrtool predict IMAGE --run {shlex.quote(result.run)}{_option(common)}")


def evaluated_tables(result: TablesResult, common: CommonConfig) -> None:
    """The scores of tables of predictions, and how far they are apart."""
    if common.json:
        print_json(result.as_json())
        return
    for one in result.results:
        show_scores(one)
        print_line()
    show_differences(result.differences)
    if result.written:
        print_line(f"written: {', '.join(str(path) for path in result.written)}")


def compared(result: CompareResult, config: CompareConfig, common: CommonConfig) -> None:
    """The tables of a comparison, to be read or for a paper."""
    if common.json:
        print_json(result.as_json())
        return
    if config.table != "text":
        from cxrtool.paper import to_latex, to_markdown

        write = to_latex if config.table == "latex" else to_markdown
        print_text("\n".join(write(one) for one in result.tables.values()))
        return
    for one in result.tables.values():
        _show_paper_table(one)
    if result.written:
        print_line(f"written: {', '.join(str(path) for path in result.written)}")


def _show_paper_table(one: PaperTable) -> None:
    """A table that fits 80 columns: what is too long in it has a mark, and stands below."""
    headings, legend = list(one.columns), []
    rows = [[cell if cell is not None else "n/a" for cell in row] for row in one.rows]
    others = [cell for row in rows for cell in row[1:] if len(cell) > LONGEST]
    sentences = list(dict.fromkeys(others))
    marks = {sentence: f"({chr(97 + at)})" for at, sentence in enumerate(sentences[:26])}
    rows = [[row[0], *(marks.get(cell, cell) for cell in row[1:])] for row in rows]
    widths = [
        max(len(heading), *(len(row[column]) for row in rows))
        for column, heading in enumerate(headings)
    ]
    if sum(widths) + 2 * len(widths) > PLAIN_WIDTH:
        legend = [f"{number}: {heading}" for number, heading in enumerate(headings[1:], start=1)]
        headings = [headings[0], *(str(number) for number in range(1, len(headings)))]
    sides = {heading: "right" if at else "left" for at, heading in enumerate(headings)}
    print_table(table(one.caption, sides, rows, wrap=True))
    told = [f"{mark} {sentence}" for sentence, mark in marks.items()]
    for line in (*legend, *told, *one.notes):
        print_line(textwrap.fill(line, PLAIN_WIDTH, subsequent_indent="  "))
    print_line()


def show_differences(differences: list[dict[str, Any]]) -> None:
    """The difference of each pair's mean AUROC, with its interval."""
    for pair in differences:
        apart = pair["mean"]
        ends = apart["auroc_ci"]
        within = f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else ""
        value = "n/a" if apart["auroc"] is None else f"{apart['auroc']:+.3f}"
        print_line(f"{pair['run']} less {pair['baseline']}: mean AUROC {value}{within}")


def show_scores(result: EvaluateResult) -> None:
    """The table of scores, their means, the largest gaps between groups, and the protocol."""
    values = result.values
    rows = [_score_row(label, figures) for label, figures in result.labels.items()]
    columns = {
        "label": "left",
        "AUROC": "right",
        "95 % CI": "right",
        "thresh.": "right",
        "sens.": "right",
        "spec.": "right",
        "pos.": "right",
    }
    if values["operating_point"] is None:
        # Without thresholds there is room for the other measure of ranking.
        columns = {"label": "left", **dict.fromkeys(("AUROC", "95 % CI"), "right")}
        columns |= dict.fromkeys(("AUPRC", "its CI", "pos."), "right")
        rows = [_ranking_row(label, figures) for label, figures in result.labels.items()]
    things = "studies" if values["unit"] == "study" else "images"
    part = f" on {values['split']}" if values["split"] else ""
    print_table(table(f"{result.run}{part}: {result.n:,} {things}", columns, rows))
    print_line(_mean_line("mean AUROC", values, len(result.labels)))
    five = values["competition"]
    if five and 1 < len(five["labels"]) < len(result.labels):
        print_line(_mean_line("of the CheXpert competition's:", five, len(five["labels"])))
    _show_gaps(values)
    _show_protocol(values)


def _mean_line(what: str, figures: dict[str, Any], labels: int) -> str:
    ends = figures["mean_auroc_ci"]
    within = f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else ""
    mean = number(figures["mean_auroc"])
    return f"{what} {mean}{within} over {figures['defined']} of {labels} labels"


def _show_gaps(values: dict[str, Any]) -> None:
    """The largest gap of AUROC between the groups of each column, if its interval is clear of 0."""
    for column, told in values["subgroups"].items():
        clear = [
            (gap["auroc"], label)
            for label, gap in told["gaps"].items()
            if gap["auroc"] and gap["auroc"]["ci"] and gap["auroc"]["ci"][0] > 0
        ]
        if clear:
            gap, label = max(clear, key=lambda one: one[0]["gap"])
            print_line(
                f"largest gap by {column}: {label}, AUROC {gap['gap']:.3f} higher for "
                f"{gap['highest']} than for {gap['lowest']}"
            )


def _show_protocol(values: dict[str, Any]) -> None:
    told = values["protocol"]
    point = values["operating_point"]
    thresholds = f"{point['rule']}, chosen on {point['chosen_on']}" if point else "none"
    calibration = values["calibration"]
    curve = f";\n  probabilities: {calibration['method']}, fitted on valid" if calibration else ""
    views = " and ".join(told["views"]) or "not known which"
    print_line(
        f"protocol: {told['name']}, split by {told['split_by']}, {views} views;\n"
        f"  labels by {told['labels_by']};\n"
        f"  uncertain as {told['uncertainty']}, blank as {told['blank']}; "
        f"intervals over {values['patients']:,} patients;\n"
        f"  thresholds: {thresholds}{curve}"
    )


def _score_row(label: str, figures: dict[str, Any]) -> list[str]:
    interval = figures["auroc_ci"]
    return [
        label,
        number(figures["auroc"]),
        f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "n/a",
        number(figures["threshold"]),
        number(figures["sensitivity"], 2),
        number(figures["specificity"], 2),
        f"{figures['positives']:,}",
    ]


def _ranking_row(label: str, figures: dict[str, Any]) -> list[str]:
    cells = [label]
    for name in ("auroc", "auprc"):
        ends = figures[f"{name}_ci"]
        cells.append(number(figures[name]))
        cells.append(f"{ends[0]:.3f}-{ends[1]:.3f}" if ends else "n/a")
    return [*cells, f"{figures['positives']:,}"]


def predicted(result: PredictResult, common: CommonConfig) -> None:
    """A table for a few images, a list or (off a terminal) CSV for many, or where the file is."""
    if common.json:
        print_json(result.as_json())
    elif result.output is not None:
        print_line(f"{result.images:,} images, {result.failed:,} failed; written: {result.output}")
    elif result.images <= TABLES_FOR:
        show_predictions(result)
        print_line("Research software, not a medical device.")
    elif on_terminal():
        list_predictions(result)
    else:
        print_text(result.csv())
    if result.failed:
        reporter(common).warn(f"{result.failed:,} of {result.images:,} images could not be read")


def list_predictions(result: PredictResult) -> None:
    """A line an image: what is positive there, or why it could not be read."""
    for row in result.table.to_dict("records"):
        positive = str(row["positive"]).replace(";", ", ") or "nothing positive"
        print_line(f"{row['path']}: {row['error'] or positive}")
    print_line("Probabilities: --output CSV, or `| less`. Research software, no medical device.")


def show_predictions(result: PredictResult) -> None:
    """A table an image."""
    for row in result.table.to_dict("records"):
        _show_prediction({str(key): value for key, value in row.items()}, result)


def _show_prediction(row: dict[str, Any], result: PredictResult) -> None:
    if row["error"]:
        print_line(f"{row['path']}: {row['error']}")
        return
    positive = row["positive"].split(";")
    rows = []
    for label in sorted(result.card.labels, key=lambda name: -row[name]):
        threshold = result.thresholds[label]
        decision = "positive" if label in positive else "negative"
        decided = decision if threshold is not None else "n/a"
        rows.append([label, number(row[label]), number(threshold), decided])
    columns = {"finding": "left", "probability": "right", "threshold": "right", "decision": "left"}
    print_line(f"{row['path']} by {result.run.name}")
    print_table(table("", columns, rows))
    if row["warning"]:
        print_line(f"warning: {row['warning']}")


def listed(runs: list[ListedRun], workspace: Workspace, common: CommonConfig) -> None:
    """Two lines a run: its scores, and what it is."""
    if common.json:
        print_json({"runs": [run.as_json() for run in runs]})
        return
    if not runs:
        print_line(f"no runs in {workspace.runs}")
        next_command(f"cxrtool train{_option(common)}")
        return
    print_line(_run_line("run", "epochs", "best", "valid", "test", "state"))
    print_line("  recipe, arch, policy of uncertain labels, when training last wrote to it")
    for run in runs:
        done, asked = ("?" if n is None else n for n in (run.epochs, run.epochs_asked))
        best = "n/a" if run.best_epoch is None else f"{run.best_epoch}"
        scores = number(run.valid_mean_auroc), number(run.test_mean_auroc)
        print_line(_run_line(run.run, f"{done}/{asked}", best, *scores, run.state))
        for line in _what_it_is(run):
            print_line(line)
    print_line()
    print_line("best: epoch; valid, test: mean AUROC")
    following = _after_runs(runs)
    if following:
        next_command(f"{following}{_option(common)}")


def _run_line(name: str, epochs: str, best: str, valid: str, test: str, state: str) -> str:
    """Figures in columns after the name; below it, where it is too long, so that it is whole."""
    figures = f"{epochs:>7}  {best:>4}  {valid:>5}  {test:>5}  {state}"
    if len(name) > NAME_WIDTH:
        return f"{name}\n{'':{NAME_WIDTH}}  {figures}"
    return f"{name:{NAME_WIDTH}}  {figures}"


def _what_it_is(run: ListedRun) -> list[str]:
    told = [run.recipe or "own recipe", run.arch, run.policy] if run.arch else []
    told += [f"fold {run.fold}"] if run.fold is not None else []
    told += [f"{run.written:%Y-%m-%d %H:%M}"]
    lines = [", ".join(str(part) for part in told), *run.problems]
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
    """The command that the latest run waits for that waits for one."""
    for state, command in (("unfinished", "train --resume"), ("finished", "evaluate")):
        waiting = [run for run in runs if run.state == state and run.test_mean_auroc is None]
        if waiting:
            return f"cxrtool {command} {shlex.quote(waiting[-1].run)}"
    finished = [run for run in runs if run.state == "finished"]
    return f"cxrtool predict IMAGE --run {shlex.quote(finished[-1].run)}" if finished else None


def drawn(result: DrawnResult, common: CommonConfig) -> None:
    """Where the drawn data set is."""
    if common.json:
        print_json(result.as_json())
        return
    print_line(
        f"{result.images:,} drawings ({result.frontal:,} frontal) of {result.patients:,} invented "
        f"patients in {result.folder}; boxes.csv says where each finding was drawn"
    )
    next_command(f"cxrtool prepare {shlex.quote(str(result.folder))}")


def demonstrated(result: DemoResult, common: CommonConfig) -> None:
    """The scores of the demo's network, and what a linear model makes of thumbnails."""
    if common.json:
        print_json(result.as_json())
        return
    show_scores(result.scores)
    print_line(
        f"logistic regression on 16x16 thumbnails: mean AUROC {number(result.linear_auroc)} "
        "over the same labels"
    )
    show_predictions(result.prediction)
    print_line(f"drawn and labelled there: {', '.join(result.findings)}")
    print_line(
        f"All of this is a drawing: invented patients, drawn in {result.workspace}. "
        "The scores say that the chain works, and nothing about real X-rays."
    )
    print_line(f"{result.seconds:.0f} s in all")
    next_command("cxrtool prepare PATH/TO/CheXpert-v1.0-small")
