"""A published network as a finished run: its own labels, its own scaling, no thresholds.

`xrv:NAME` and `xrv:FILE` become a run's folder once, so that everything that takes a run takes it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import RunError, WeightsError, did_you_mean, first_few
from cxrtool.core.files import sha256, write_text
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.core.model_files import file_of_start
from cxrtool.core.packs import is_pack, unpack
from cxrtool.core.run_cards import sealed_thresholds
from cxrtool.core.runs import RunFolder, find_run, named_run
from cxrtool.core.start_cards import XRV, StartCard, find_start, near_starts, start_of_file

if TYPE_CHECKING:
    from torch import Tensor, nn

LABELS = {"Effusion": "Pleural Effusion"}
"""What torchxrayvision's labels are called here, where it is another word for the same finding.

The rest keep their names: those of CheXpert are its own words, and Infiltration, Emphysema,
Fibrosis, Pleural_Thickening, Nodule, Mass and Hernia have no column in CheXpert that is the same.
"""
WITHOUT = "none was chosen: a published network"
UNCERTAIN = "ignore"
"""torchxrayvision leaves uncertain labels out of its training, and so of its truth."""
BLACK, WHITE = -1024, 1024
"""What torchxrayvision makes of the darkest and the brightest pixel."""
ARCHS = ("densenet121", "resnet50", "resnet101")
"""Those of torchxrayvision's networks."""
NOBODY = "0" * 64
"""The fingerprint of a table that a published network was not trained on."""


def run_of(runs: Path, given: str | None, reporter: Reporter = SILENT) -> RunFolder:
    """The run that a user means, as `find_run`; or a published network (`xrv:`) or a pack as one.

    Raises:
        RunError: there is none such, or the pack was altered.
        WeightsError: the published network's file is not here, or does not say its labels.
    """
    if given is None or not given.startswith(XRV):
        pack = given is not None and named_run(runs, given) is None and is_pack(given)
        return unpack(runs, str(given), reporter) if pack else find_run(runs, given)
    card, path = _named(given)
    run = RunFolder(runs / card.name.replace(":", "-"))
    digest = sha256(path) if path is not None else None
    if run.path.exists():
        return _known(run, given, digest)
    if path is None:
        raise WeightsError(
            f"the weights of {given} are not on this machine, and nothing is downloaded but by "
            f"`models fetch`.\n{file_of_start(card).how_to_get()}"
        )
    with reporter.busy(f"reading {path.name}"):
        _write(run, card, path)
    reporter.note(f"{given} is kept as run {run.name} in {runs}: that name stands for it from now")
    return run


def _named(given: str) -> tuple[StartCard, Path | None]:
    """The card and the file of a published network.

    Raises:
        WeightsError: neither a start with labels nor a file.
    """
    card, path = find_start(given), Path(given.removeprefix(XRV)).expanduser()
    if card is not None:
        if not card.labels:
            raise WeightsError(f"{given} has no labels of its own: train a run from it")
        return card, file_of_start(card).here()
    if not path.is_file():
        near = did_you_mean(near_starts(given))
        raise WeightsError(
            f"{given}: no such file, and no network of torchxrayvision's{near}; `cxrtool models` "
            "lists those"
        )
    known = start_of_file(path.name)
    return known or _unknown_card(given, path), path


def _unknown_card(given: str, path: Path) -> StartCard:
    """The card of a file that is in no table: it names its labels itself.

    Raises:
        WeightsError: it does not.
    """
    from cxrtool.networks.converted_files import labels_in

    labels = labels_in(path)
    if not labels:
        raise WeightsError(
            f"{given} does not name its labels (`pathologies`), so its logits stand for nothing: "
            "save the whole network as torchxrayvision does, or train a run from its weights"
        )
    return StartCard(
        name=f"{XRV}{path.stem}",
        arch="",
        mean=(0.5,),
        std=(1 / (WHITE - BLACK),),
        file=path.name,
        labels=labels,
        trained_words="data that its file does not name",
        access="by hand",
    )


def _known(run: RunFolder, given: str, digest: str | None) -> RunFolder:
    """A run that stands for a published network already.

    Raises:
        RunError: it is another run of this name, or of another file.
    """
    published: Any = None
    with suppress(RunError):
        published = read_json(run.model).get("published")
    if not isinstance(published, dict):
        raise RunError(
            f"{run.path} is not {given}, but a run of this name: rename it, or name it by its path"
        )
    if digest not in (None, published.get("sha256")):
        raise RunError(
            f"{run.path} was made of another file than {given} is now: remove it (`cxrtool runs rm "
            f"{run.name}`), and it is made again"
        )
    return run


def _write(run: RunFolder, card: StartCard, path: Path) -> None:
    """Make the run's folder, whole or not at all."""
    from safetensors.torch import save_file

    labels = [(LABELS.get(one, one), row) for row, one in enumerate(card.labels) if one]
    network, arch = _network(card, path, [row for _, row in labels])
    hidden = RunFolder(run.path.with_name(f".{run.name}-in-the-making"))
    shutil.rmtree(hidden.path, ignore_errors=True)
    hidden.path.mkdir(parents=True)
    try:
        save_file(dict(network.state_dict()), hidden.weights)
        _write_facts(hidden, card, arch, [label for label, _ in labels], sha256(path))
        hidden.path.rename(run.path)
    finally:
        shutil.rmtree(hidden.path, ignore_errors=True)


def _network(card: StartCard, path: Path, rows: Sequence[int]) -> "tuple[nn.Module, str]":
    """The published network with the rows of its last layer that stand for a label.

    Raises:
        WeightsError: the file holds no such network, or another last layer.
    """
    import torch

    from cxrtool.networks.architectures import build_network, head_name, head_of
    from cxrtool.networks.pretrained import needed_by
    from cxrtool.networks.state_dicts import fitting_place, read_tensors, refuse_not_finite

    tensors = read_tensors(path)
    for arch in (card.arch,) if card.arch else ARCHS:
        network = build_network(arch, len(rows), image_size=card.image_size)
        place = fitting_place(tensors, needed_by(network), str(path))
        if place is None:
            continue
        head, own = head_name(network), head_of(network)
        weight, bias = (place.tensors.get(f"{head}.{part}") for part in ("weight", "bias"))
        _refuse_other_head(path, card, own.in_features, weight, bias)
        state = {key: one for key, one in place.tensors.items() if key in network.state_dict()}
        refuse_not_finite(state, path)
        state |= {f"{head}.weight": weight[list(rows)], f"{head}.bias": bias[list(rows)]}  # type: ignore[index]
        with torch.no_grad():
            network.load_state_dict(state, strict=False)
        return network, arch
    raise WeightsError(
        f"the tensors of {path} do not fit {card.arch or ' or '.join(ARCHS)}: it is not the "
        "published file, or of a network that torchxrayvision does not have"
    )


def _refuse_other_head(
    path: Path, card: StartCard, width: int, weight: "Tensor | None", bias: "Tensor | None"
) -> None:
    shapes = [None if one is None else tuple(one.shape) for one in (weight, bias)]
    expected = [(len(card.labels), width), (len(card.labels),)]
    if shapes != expected:
        raise WeightsError(
            f"{path}: its last layer has the shapes {first_few(shapes)}, and {len(card.labels)} "
            f"labels need {first_few(expected)}: its logits are not those of {card.name}"
        )


def _write_facts(
    run: RunFolder, card: StartCard, arch: str, labels: Sequence[str], digest: str
) -> None:
    """Write what a run says of itself; model.json last."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    _write_settings(run, card, arch, now)
    write_json(
        run.labels, {"labels": list(labels), "uncertainty": UNCERTAIN, "blank": TrainConfig.blank}
    )
    # Nobody is known by a number; what it was trained on is said by collection, to runs that begin
    # from it too.
    itself = [{"name": card.name, "weights_sha256": None}]
    write_json(run.patients, {"train": [], "valid": [], "registers": [], "ancestors": itself})
    chosen: Mapping[str, Any] = {
        "operating_point": "youden",
        "chosen_on": "valid",
        "thresholds": dict.fromkeys(labels),
        "operating_points": {},
        "calibration": None,
        "without": dict.fromkeys(labels, WITHOUT),
    }
    write_json(run.thresholds, sealed_thresholds(chosen, sha256(run.weights)))
    about = _about_model(run, card, arch, digest, now)
    write_json(run.model, {**about, "sealed": seal_of(about)})


def _write_settings(run: RunFolder, card: StartCard, arch: str, now: str) -> None:
    settings = {
        "arch": arch,
        "uncertainty": UNCERTAIN,
        "blank": TrainConfig.blank,
        "weights": card.name,
        "image_size": card.image_size,
        "sampling": "uniform",
        "epochs": 1,
    }
    write_text(run.config, "".join(f"{key}: {json.dumps(one)}\n" for key, one in settings.items()))
    write_json(run.environment, {"began": now, "weights_from": card.name})


def _about_model(
    run: RunFolder, card: StartCard, arch: str, digest: str, now: str
) -> dict[str, Any]:
    return {
        "arch": arch,
        "drop_rate": 0.0,
        "image_size": card.image_size,
        "squish": [card.image_size],
        "fold": None,
        "pixel_mean": card.grey_mean,
        "pixel_std": card.grey_std,
        "pixels_of": f"its own training ({card.name})",
        "weights_from": f"{card.name}: {card.file} (SHA-256 {digest})",
        "data": {
            "origin": "own",
            "description": f"{card.trained_words} (as its publisher says)",
            "labels_by": {},
            "layout": "published",
        },
        "published": {
            "name": card.name,
            "trained_on": list(card.trained_on),
            "words": card.trained_words,
            "sha256": digest,
        },
        "sha256": {path.name: sha256(path) for path in (run.weights, run.labels, run.patients)},
        "manifest_sha256": NOBODY,
        "split_sha256": NOBODY,
        "epochs": 0,
        "best_epoch": 0,
        "valid_mean_auroc": None,
        "finished": now,
    }
