"""README.md in a run's folder: a model card as Hugging Face reads it, with a `model-index`.

The format: huggingface.co/docs/hub/model-cards, whose `EvalResult` names task, data set and metric.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cxrtool import __version__
from cxrtool.core.errors import RunError, counted
from cxrtool.core.files import read_text, write_text
from cxrtool.core.json_files import read_json
from cxrtool.core.numbers import Estimate, interval, number
from cxrtool.core.origin import BANNER, DRAWN
from cxrtool.core.packs import SPLITS
from cxrtool.core.run_cards import RunCard, read_card, sampling_remark
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import LabelMetrics, Metrics, read_as
from cxrtool.data.provenance import data_of_run
from cxrtool.evaluation.intervals import LEAST_PATIENTS

README = "README.md"
MARK = "<!-- Written by cxrtool, which writes it anew with each evaluation. -->"
TASK = {"type": "image-classification", "name": "Findings in chest X-rays (multi-label)"}
MEANS = {"roc_auc": ("AUROC", "mean_auroc"), "average_precision": ("AUPRC", "mean_auprc")}
"""The means over labels: by the metric's name at Hugging Face, its name here and its key."""
SEEN = {
    "valid": " (the epoch and thresholds were chosen on it)",
    "train": " (the network has seen it)",
}
NOTICE = "Research software, not a medical device. No clinical decision may rest on it."


def write_readme(run: RunFolder) -> Path | None:
    """Write a finished run's README.md as far as its scores are known.

    Returns:
        Its path; None where there is one that somebody else wrote, which stays.
    """
    path = run.path / README
    try:
        if MARK not in read_text(path):
            return None
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError):
        return None
    write_text(path, readme(run, read_card(run), run.name))
    return path


def readme(run: RunFolder, card: RunCard, name: str) -> str:
    """A finished run's model card: YAML for machines, then the same for people under its name."""
    scores = {split: one for split in SPLITS if (one := _scores(run, split)) is not None}
    about: dict[str, Any] = {
        "library_name": "cxrtool",
        "pipeline_tag": TASK["type"],
        "tags": ["chest-x-ray", "radiology", "multi-label", card.arch],
    }
    if scores:  # a model-index without results is none
        results = [_result(split, one, card) for split, one in scores.items()]
        about["model-index"] = [{"name": name, "results": results}]
    header = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    parts = [f"---\n{header}---\n\n{MARK}\n\n# {name}\n", *_text(run, card, name)]
    parts += [_table(split, one) for split, one in scores.items()]
    return "\n".join(parts)


def few(scores: LabelMetrics) -> bool:
    """Whether a label's figures are of so few positive patients that they might point at them."""
    positive = getattr(scores, "positive_patients", None)
    return isinstance(positive, int) and positive < LEAST_PATIENTS


def _scores(run: RunFolder, split: str) -> Metrics | None:
    path = run.metrics(split)
    if not path.is_file():
        return None
    try:
        return read_as(path, Metrics)
    except RunError:  # `evaluate` says so where the scores themselves are asked for
        return None


def _result(split: str, scores: Metrics, card: RunCard) -> dict[str, Any]:
    """One of the results of a model-index."""
    data, protocol = scores.data or {}, scores.protocol or {}
    keys = ("labels_by", "uncertainty", "blank", "split_by")
    told = {name: protocol[name] for name in keys if protocol.get(name) is not None}
    return {
        "task": dict(TASK),
        "dataset": {
            "type": str(data.get("origin") or "own"),
            "name": str(data.get("description") or "not known"),
            "split": split,
            # The state of the data: the SHA-256 of their manifest.
            "revision": card.manifest_sha256,
            "args": {**told, "images": scores.n, "patients": scores.patients},
        },
        "metrics": list(_metrics(scores)),
    }


def _metrics(scores: Metrics) -> Iterator[dict[str, Any]]:
    """The figures that are known: means, then each label's AUROC."""
    over = f"over {scores.defined} of {counted(len(scores.labels), 'label')}"
    for kind, (word, key) in MEANS.items():
        value, ends = getattr(scores, key, None), getattr(scores, f"{key}_ci", None)
        if value is not None:
            yield _metric(kind, f"mean {word} {over}", value, ends)
    for label, one in scores.labels.items():
        if one.auroc is not None and not few(one):
            yield _metric("roc_auc", f"AUROC, {label}", one.auroc, one.auroc_ci)


def _metric(kind: str, name: str, value: float, ends: Any) -> dict[str, Any]:
    within = {"args": {"interval_95": [float(end) for end in ends]}} if ends else {}
    return {"type": kind, "name": name, "value": float(value), **within}


def _text(run: RunFolder, card: RunCard, name: str) -> list[str]:
    """What the model is, for people."""
    model, data = read_json(run.model), data_of_run(run)
    images = (model.get("images") or {}).get("train")
    trained = counted(card.cohort.train, "patient")
    trained = trained if images is None else f"{counted(images, 'image')} of {trained}"
    calibration = card.calibration
    rows = {
        "Made with": f"cxrtool {__version__}",
        "Network": f"{card.arch}, {card.image_size} x {card.image_size} pixels, grey",
        "Labels": ", ".join(card.labels),
        "Trained on": f"{trained}: {data.get('description') or 'not known which'}",
        "Uncertain labels": f"{card.uncertainty}; labels not mentioned: {card.blank}",
        "Thresholds": f"{card.operating_point}, chosen on valid",
        "Probabilities": f"calibrated ({calibration['method']})" if calibration else "as computed",
        "Weights": f"SHA-256 {card.weights_sha256}",
    }
    lines = [f"**{NOTICE}**", ""]
    lines += [f"**{BANNER}**", ""] if data.get("origin") == DRAWN else []
    lines += [f"- {term}: {text}" for term, text in rows.items()]
    lines += ["", "```sh", f"cxrtool predict IMAGE --run {name}", "```", ""]
    remark = sampling_remark(run, card)
    # It names the run by its folder.
    return [*lines, f"Note: {remark.replace(run.name, name)}.", ""] if remark else lines


def _table(split: str, scores: Metrics) -> str:
    """A part's scores for people."""
    images = counted(scores.n or 0, scores.unit or "image")
    mean = _shown(Estimate.of(scores.mean_auroc, scores.mean_auroc_ci))
    lines = [
        f"## Scores on {split}{SEEN.get(split, '')}",
        "",
        f"{images} of {counted(scores.patients or 0, 'patient')}; mean AUROC {mean} over "
        f"{scores.defined} of {counted(len(scores.labels), 'label')}.",
        "",
        "| label | AUROC (95 % interval) |",
        "|---|---|",
    ]
    left_out = int((getattr(scores, "left_out", None) or {}).get("labels", 0))
    for label, one in scores.labels.items():
        if few(one):
            left_out += 1
        elif one.model_fields_set:  # in a pack nothing is known of what is left out
            lines.append(f"| {label} | {_shown(Estimate.of(one.auroc, one.auroc_ci))} |")
    if left_out:
        whom = f"with fewer than {LEAST_PATIENTS} patients of a class"
        lines += ["", f"Left out: {counted(left_out, 'label')} {whom}."]
    return "\n".join([*lines, ""])


def _shown(estimate: Estimate) -> str:
    ends = interval(estimate.interval, between=" to ")
    return number(estimate.value) + (f" ({ends})" if ends else "")
