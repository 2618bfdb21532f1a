"""Files of a run as cxrtool would have written them with other values."""

from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.core.run_cards import sealed_thresholds


def change_model(run, **values):
    """Other values in model.json, and the SHA-256 of the files that are there now."""
    model = {**read_json(run.model), **values}
    model["sha256"] = {name: sha256(run.path / name) for name in model["sha256"]}
    write_json(run.model, {**model, "sealed": seal_of(model)})


def change_thresholds(run, **values):
    """Other values in thresholds.json."""
    weights = sha256(run.weights)
    write_json(run.thresholds, sealed_thresholds({**read_json(run.thresholds), **values}, weights))
