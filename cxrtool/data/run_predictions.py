"""A run's own predictions: a table, and beside it what says of which weights it is."""

from cxrtool.core.errors import RunError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import ScoresFolder


def seal_predictions(run: ScoresFolder, stem: str, weights_sha256: str) -> None:
    """Bind a table that was just written to the weights that it was scored with."""
    facts = {"weights_sha256": weights_sha256, "sha256": sha256(run.predictions(stem))}
    write_json(run.predictions_facts(stem), {**facts, "sealed": seal_of(facts)})


def doubt_of(run: ScoresFolder, card: RunCard, stem: str) -> str:
    """Why a table of predictions in a run's folder may not be its own; nothing, where it is.

    Those of a run of version 0.1 are bound to nothing, and are not doubted: see `is_bound`.
    """
    from cxrtool.core.schemas import PredictionsFacts, checked

    path = run.predictions_facts(stem)
    if not is_bound(run, card, stem):
        return ""
    try:
        values = read_json(path)
        facts = checked(values, PredictionsFacts, path)
    except RunError as error:
        return str(error)
    if facts.sealed != seal_of(values):
        return f"{path.name} was edited"
    if facts.weights_sha256 != card.weights_sha256:
        return f"{path.name} says that other weights made it"
    return "" if facts.sha256 == sha256(run.predictions(stem)) else "it was edited or replaced"


def is_bound(run: ScoresFolder, card: RunCard, stem: str) -> bool:
    """Whether a table of predictions has to say of which weights it is."""
    return card.sealed or run.predictions_facts(stem).exists()
