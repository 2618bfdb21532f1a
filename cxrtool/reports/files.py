"""An evaluation's files: JSON, CSV, pictures, and the page that holds all of it."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cxrtool import __version__
from cxrtool.core.config import BOTH
from cxrtool.core.console import Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.errors import DataError, RunError
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.core.yaml_files import read_yaml
from cxrtool.data.provenance import data_of_run
from cxrtool.data.starts import told_start, without_folders
from cxrtool.evaluation.result import EvaluationResult, GroupScores, LabelScores
from cxrtool.evaluation.run_part import Part
from cxrtool.evaluation.scoring import Scored
from cxrtool.reports.card import Card
from cxrtool.reports.figures.curves import (
    distributions_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from cxrtool.reports.figures.decision_curves import decision_figure
from cxrtool.reports.figures.forest import forest_figure
from cxrtool.reports.figures.panels import save_figure
from cxrtool.reports.figures.series import (
    distribution,
    precision_recall_curve,
    reader_points,
    reliability,
    roc_curve,
)
from cxrtool.reports.page import write_report
from cxrtool.reports.part_card import complete_card, training_curves

RECIPE = (
    *("recipe", "arch", "weights", "uncertainty", "blank", "image_size", "loss", "sampling"),
    *("lr", "body_lr", "weight_decay", "schedule", "freeze_epochs", "unfreeze", "batch_size"),
    *("epochs", "ema", "drop_rate", "seed"),
)
"""The options of a training that its card names."""


def write_scores(result: EvaluationResult, json_file: Path) -> list[Path]:
    """The figures as JSON and, beside it, as CSV: a row a label; a row a group and label."""
    write_json(json_file, result.as_json())
    of_labels = [{"label": label, **_flat(one)} for label, one in result.labels.items()]
    of_groups = [
        {"column": column, "group": name, "label": label, **_flat(scores)}
        for column, subgroups in result.subgroups.items()
        for name, group in subgroups.groups.items()
        for label, scores in group.labels.items()
    ]
    tables = {json_file.with_suffix(".csv"): of_labels}
    if of_groups:
        tables[json_file.with_name(f"{json_file.stem}-subgroups.csv")] = of_groups
    for file, rows in tables.items():
        write_table(pd.DataFrame(rows), file)
    return [json_file, *tables]


def _flat(scores: LabelScores | GroupScores) -> dict[str, Any]:
    """Figures with each interval as two columns."""
    flat: dict[str, Any] = {}
    for name, value in scores.as_json().items():
        if name.endswith("_ci"):
            low, high = value or (None, None)
            flat |= {f"{name[:-3]}_low": low, f"{name[:-3]}_high": high}
        else:
            flat[name] = value
    return flat


def draw_scores(scored: Scored, folder: Path) -> dict[str, Path]:
    """All pictures of an evaluation, by their captions."""
    sample, result = scored.sample, scored.result
    raw = scored.raw if result.calibration else None
    labels = [(label, (sample, at, one)) for at, (label, one) in enumerate(result.labels.items())]
    curves = {
        label: replace(roc_curve(*of), readers=reader_points(result.readers, label))
        for label, of in labels
    }
    precision = {label: precision_recall_curve(*of) for label, of in labels}
    distributions = {label: distribution(*of) for label, of in labels}
    made = {
        "ROC curves": ("roc", roc_figure(curves)),
        "Precision-recall curves": ("precision_recall", precision_recall_figure(precision)),
        "Distributions of scores": ("distributions", distributions_figure(distributions)),
    }
    if sample.probabilities:
        smooth, decided = result.calibration_curves, result.decision_curves
        figure = reliability_figure(
            {label: reliability(*of, raw, smooth.get(label)) for label, of in labels}
        )
        made["Reliability: predicted probability against what was found"] = "reliability", figure
        figure = decision_figure({label: decided.get(label) for label, _ in labels})
        made["Net benefit of deciding by the probabilities"] = "net_benefit", figure
    # Where two columns meet there are many groups, most of them too small: a table has them.
    single = {column: of for column, of in result.subgroups.items() if BOTH not in column}
    if single:
        figure = forest_figure(result.labels, single)
        made["AUROC by subgroup"] = "subgroups", figure
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for caption, (name, figure) in made.items():
        drawn[caption] = folder / f"{name}.png"
        save_figure(figure, drawn[caption])
    return drawn


def write_evaluation(
    scored: Scored, part: Part, reporter: Reporter, *, report: bool, show_images: bool = False
) -> list[Path]:
    """Write an evaluation into its part's folder: tables, and with `report` pictures and the page.

    With `show_images` the page has the images of the worst failures, which are patients.

    Returns the files; the page, if there is one, comes first.
    """
    place, result = part.place, scored.result
    if not report:
        return write_scores(result, place.metrics(part.stem))
    page = place.report(part.stem)
    drawn = draw_scores(scored, place.score_figures(part.stem))
    card = card_of_run(part.run, result)
    if part.split is None:
        card = replace(card, command=f"{card.command} --data {shlex.quote(part.name)}")
    card = complete_card(card, part, scored, _read(part.run.environment), show_images=show_images)
    write_report(result, card, {**drawn, **training_curves(part.run)}, page)
    tables = write_scores(result, place.metrics(part.stem))
    reporter.detail(f"written: {', '.join(str(path) for path in [*tables, *drawn.values()])}")
    return [page, *tables, *drawn.values()]


def card_of_run(run: RunFolder, result: EvaluationResult) -> Card:
    """What a run's own files say of its model and its data. No patient, no path of an image."""
    model, environment = _read(run.model), _read(run.environment)
    recipe, data = _recipe(run), data_of_run(run)
    images, patients = model.get("images", {}), _read(run.patients)
    about = {
        "images of the training": data.get("description"),
        "labels of the training": _labellers(data),
    }
    for name in ("train", "valid"):
        if name in images and name in patients:
            about[f"{name} part"] = f"{images[name]:,} images of {len(patients[name]):,} patients"
    views = _read(Workspace(run.path.parent.parent).data_info).get("views")
    about["views of the training"] = views or None
    recipe |= {
        "epochs done": model.get("epochs"),
        "best epoch": model.get("best_epoch"),
        "mean AUROC on valid": f"{model['valid_mean_auroc']:.4f}"
        if model.get("valid_mean_auroc") is not None
        else "",
        "weights from": without_folders(str(model.get("weights_from", ""))),
        "began from, over all generations": ", ".join(
            str(one.get("name")) for one in patients.get("ancestors") or ()
        ),
        "fold": model.get("fold"),
    }
    machine = {
        **environment.get("libraries", {}),
        "Python": environment.get("python"),
        "system": environment.get("system"),
        "device of the training": environment.get("device"),
        "commit of the source": environment.get("git_commit"),
        "trained": model.get("finished"),
        "SHA-256 of weights": model.get("sha256", {}).get(run.weights.name),
        "SHA-256 of manifest": model.get("manifest_sha256"),
        "SHA-256 of split": model.get("split_sha256"),
        "scored with": f"cxrtool {__version__}",
    }
    return Card(
        title=run.name,
        data=_texts(about),
        recipe=_texts(recipe),
        environment=_texts(machine),
        command=command_line(result),
    )


def command_line(result: EvaluationResult) -> str:
    """The command that makes the same evaluation, without any path of this machine."""
    protocol = result.protocol
    words = ["cxrtool", "evaluate", shlex.quote(os.path.basename(result.run))]  # noqa: PTH119
    words += ["--split", result.split] if result.split else []
    words += ["--uncertainty", shlex.quote(protocol.uncertainty), "--blank", protocol.blank]
    words += ["--unit", result.unit]
    words += ["--aggregate", result.aggregate] if result.aggregate else []
    words += ["--force"] if protocol.trained_on and result.split != "train" else []
    return " ".join(words)


def _recipe(run: RunFolder) -> dict[str, Any]:
    try:
        settings = read_yaml(run.config)
    except DataError:
        return {}  # the page says that it is not known
    found = {name: settings[name] for name in RECIPE if settings.get(name) is not None}
    if "weights" in found:
        found["weights"] = told_start(without_folders(str(found["weights"])))
    return found


def _labellers(info: Mapping[str, Any]) -> str:
    by = info.get("labels_by")
    return ", ".join(dict.fromkeys(map(str, by.values()))) if isinstance(by, dict) else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (RunError, OSError):
        return {}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value not in (None, "")}
