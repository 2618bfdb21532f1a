"""What of a run goes into a pack, and in which words: no path, no patient, no picture, no machine.

Everything is chosen, nothing is carried along: a file or a key that is not named here stays.
"""

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from cxrtool import __version__
from cxrtool.core.config import RECIPES, TrainConfig
from cxrtool.core.errors import CxrToolError
from cxrtool.core.files import sha256, write_text
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.core.origin import DRAWN
from cxrtool.core.origin import NAMES as PUBLISHED
from cxrtool.core.packs import CHUNK, MANIFEST, NAMES, SPLITS, PackFacts
from cxrtool.core.run_cards import read_card, sealed_thresholds
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import checked
from cxrtool.core.yaml_files import read_yaml
from cxrtool.data.provenance import data_of_run
from cxrtool.data.starts import is_published
from cxrtool.evaluation.intervals import LEAST_PATIENTS
from cxrtool.reports.packed_thresholds import packed_point, packed_thresholds
from cxrtool.reports.readme import README, readme

OF_THE_MODEL = (
    *("arch", "drop_rate", "image_size", "squish", "fold", "pixel_mean", "pixel_std"),
    *("published", "manifest_sha256", "split_sha256", "epochs", "best_epoch", "best_step"),
    *("valid_mean_auroc", "images", "finished"),
)
OF_SCORES = (
    *("split", "unit", "aggregate", "n", "patients", "intervals"),
    *("mean_auroc", "mean_auroc_ci", "mean_auprc", "mean_auprc_ci", "defined"),
)
OF_PROTOCOL = (
    *("name", "labels_by", "uncertainty", "blank", "split_by", "views", "trained_on", "readers"),
)
OF_MACHINES = ("python", "libraries", "device", "processes")
OWN = "its maker's own data"
COUNTS = ("n", "positives", "positive_patients", "negative_patients", "patients")
"""Keys of how many there are; fewer than ten of a class or a group are not told."""


def write_pack(run: RunFolder, folder: Path) -> PackFacts:
    """Write into an empty folder what of a finished run may leave the house.

    Returns:
        What its manifest says.

    Raises:
        RunError: the run is not finished, or a file of it is missing or altered.
    """
    card = read_card(run)
    pack = RunFolder(folder)
    shutil.copyfile(run.weights, pack.weights)
    write_json(
        pack.labels,
        {"labels": list(card.labels), "uncertainty": card.uncertainty, "blank": card.blank},
    )
    write_json(pack.cohort, card.cohort.model_dump())
    thresholds = packed_thresholds(read_json(run.thresholds), card.without)
    write_json(pack.thresholds, sealed_thresholds(thresholds, card.weights_sha256))
    settings = _settings(run)
    write_text(pack.config, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    machine = {name: one for name, one in read_json(run.environment).items() if name in OF_MACHINES}
    write_json(pack.environment, {**machine, "study": None})
    data = _data(data_of_run(run))
    for split in SPLITS:
        if run.metrics(split).is_file():
            write_json(pack.metrics(split), packed_scores(read_json(run.metrics(split))))
    write_json(pack.model, _model(run, pack, settings, data))
    write_text(folder / README, readme(pack, read_card(pack), run.name))
    return _seal(folder, run.name)


def _seal(folder: Path, run: str) -> PackFacts:
    """Write pack.json for the files that are there."""
    found = {name: sha256(folder / name) for name in NAMES if (folder / name).is_file()}
    bare: dict[str, Any] = {"cxrtool": __version__, "run": run, "sha256": found}
    values = {**bare, "sealed": seal_of(bare)}
    write_json(folder / MANIFEST, values)
    return checked(values, PackFacts, folder / MANIFEST)


def zip_pack(folder: Path, run: str, output: Path) -> None:
    """Write a pack's folder as a zip, in which it is a folder of the run's name.

    The same files give the same bytes, which hold no time of this machine.
    """
    with zipfile.ZipFile(output, "w") as file:
        for name in (MANIFEST, *NAMES):
            if not (folder / name).is_file():
                continue
            entry = zipfile.ZipInfo(f"{run}/{name}")
            weights = name.endswith(".safetensors")  # numbers, which hardly get smaller
            entry.compress_type = zipfile.ZIP_STORED if weights else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with (
                (folder / name).open("rb") as source,
                file.open(entry, "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target, CHUNK)


def _model(
    run: RunFolder, pack: RunFolder, settings: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """model.json of a pack: where the weights came from is told if they are published."""
    model = read_json(run.model)
    about = {name: model[name] for name in OF_THE_MODEL if name in model}
    about["weights_from"] = model.get("weights_from") if "weights" in settings else "other weights"
    about["recipe"] = model.get("recipe") if model.get("recipe") in RECIPES else None
    about["data"] = dict(data) or None
    about["sha256"] = {path.name: sha256(path) for path in (pack.weights, pack.labels, pack.cohort)}
    return {**about, "sealed": seal_of(about)}


def _settings(run: RunFolder) -> dict[str, Any]:
    """The options of the training that are no place: a file's name may name a person."""
    try:
        known = read_yaml(run.config)
    except CxrToolError:  # a finished run does without
        return {}
    found = {key: known[key] for key in (*asdict(TrainConfig()), "seed") if key in known}
    if not is_published(str(found.get("weights", ""))):
        found.pop("weights", None)
    if found.get("recipe") not in RECIPES:
        found.pop("recipe", None)
    return found


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Of which data: a published set by its name; of others not even the names of their tables."""
    if not data:
        return {}
    kind = str(data.get("origin"))
    told = kind == DRAWN or kind in PUBLISHED or data.get("layout") == "published"
    labels_by = data.get("labels_by")
    return {
        "origin": kind,
        "description": data.get("description") if told else OWN,
        "labels_by": labels_by if told and isinstance(labels_by, dict) else {},
        "layout": data.get("layout") or "not known",
    }


def packed_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores as they may leave: figures, of nothing that rests on fewer than ten patients.

    Args:
        scores: what a file of metrics holds.

    Returns:
        The same without texts that are not the protocol's, and with `left_out`: how many labels,
        and figures of groups, were.
    """
    kept = {name: scores[name] for name in OF_SCORES if name in scores}
    kept["operating_point"] = packed_point(scores.get("operating_point"))
    data, protocol = scores.get("data") or {}, scores.get("protocol") or {}
    kind = str(data.get("origin"))
    own = kind != DRAWN and kind not in PUBLISHED
    kept["data"] = {"origin": kind, "description": OWN if own else data.get("description")}
    kept["protocol"] = {name: protocol[name] for name in OF_PROTOCOL if name in protocol}
    if own:
        kept["protocol"]["labels_by"] = "not told"
    labels = {name: _figures(one) for name, one in (scores.get("labels") or {}).items()}
    few = [name for name, one in labels.items() if _too_few(one)]
    kept["labels"] = {name: {} if name in few else one for name, one in labels.items()}
    kept["subgroups"], groups = _subgroups(scores.get("subgroups") or {})
    kept["left_out"] = {"labels": len(few), "groups": groups}
    return kept


def _subgroups(columns: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The groups of each column that are not too small, and how many figures are left out."""
    found: dict[str, Any] = {}
    left_out = 0
    for column, subgroups in columns.items():
        groups = {}
        for name, group in (subgroups.get("groups") or {}).items():
            labels = {label: _figures(one) for label, one in (group.get("labels") or {}).items()}
            large = (
                {}
                if _too_few(group)
                else {
                    label: one
                    for label, one in labels.items()
                    if not one.get("too_few") and not _too_few(one)
                }
            )
            left_out += len(labels) - len(large)
            if large:
                groups[name] = {**_figures(group), "labels": large}
        found[column] = {"groups": groups}
    return found, left_out


def _figures(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, and pairs of numbers, of what a file holds."""
    return {name: one for name, one in values.items() if _is_figure(one)}


def _is_figure(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 2 and all(isinstance(end, int | float) for end in value)
    return value is None or isinstance(value, int | float)


def _too_few(values: Mapping[str, Any]) -> bool:
    """Whether a label or a group is of fewer than ten of a kind."""
    counts = [values[name] for name in COUNTS if isinstance(values.get(name), int)]
    n, positives = values.get("n"), values.get("positives")
    if isinstance(n, int) and isinstance(positives, int):
        counts.append(n - positives)
    return bool(counts) and min(counts) < LEAST_PATIENTS
