"""What a result says of the model that it is from, so that it can be traced back to it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrtool import __version__
from cxrtool.core.json_files import seal_of
from cxrtool.core.run_cards import RunCard, calibration_words, read_card
from cxrtool.inference.engines.exported import ExportedCard, read_exported
from cxrtool.inference.scorer import ModelCard, is_exported, promises_of
from cxrtool.networks.published_runs import run_of

NOT_KNOWN = "not known"
SHORT = 12
"""Digits of a fingerprint where there is little room: enough to tell models apart."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model's name and what its decisions rest on."""

    name: str
    """Of the run, or of the exported model's file."""
    fingerprint: str
    """The SHA-256 of the weights, or of the exported file."""
    arch: str
    operating_point: str
    """The rule that the thresholds were chosen by."""
    calibration: str = "none"
    """What is made of the network's probabilities."""
    decisions: str = ""
    """A digest of thresholds, calibration and triage: with another one it decides otherwise."""
    promises: tuple[str, ...] = ()
    """What is promised of certified thresholds, and what that rests on, in words."""
    triage: tuple[str, str] | None = None
    """The rules of two certified thresholds, to rule out and to rule in."""
    remarks: tuple[str, ...] = ()
    """What else its probabilities rest on: the members of several models, several views."""
    version: str = __version__
    """Of cxrtool."""

    @property
    def short_fingerprint(self) -> str:
        """The fingerprint's first digits."""
        return self.fingerprint[:SHORT]


def facts_of_model(runs: Path, given: str | None) -> ModelFacts:
    """The facts of the model that a user means: a run's name or path, a file, or the last run.

    Raises:
        RunError, UsageError: as `run_of`, `read_card` and `read_exported`.
    """
    if given is not None and is_exported(runs, given):
        path = Path(given)
        return facts_of_exported(path.name, read_exported(path))
    run = run_of(runs, given)
    return facts_of_run(run.name, read_card(run))


def facts_of_run(name: str, card: RunCard) -> ModelFacts:
    """A finished run's facts; `card` is of `read_card`."""
    edited = ", edited by hand" if card.edited else ""
    return _facts(name, card, card.weights_sha256, card.arch, f"{card.operating_point}{edited}")


def facts_of_exported(name: str, card: ExportedCard) -> ModelFacts:
    """An exported model's facts, as far as its file says; `card` is of `read_exported`."""
    arch, rule = (str(card.about.get(key) or NOT_KNOWN) for key in ("arch", "operating_point"))
    return _facts(name, card, card.sha256, arch, rule)


def _facts(
    name: str, card: ModelCard, fingerprint: str, arch: str, operating_point: str
) -> ModelFacts:
    triage = card.triage
    decided_by = {
        "thresholds": card.thresholds,
        "calibration": card.calibration,
        "triage": triage and triage.model_dump(mode="json"),
    }
    return ModelFacts(
        name=name,
        fingerprint=fingerprint,
        arch=arch,
        operating_point=operating_point,
        calibration=calibration_words(card.calibration),
        decisions=seal_of(decided_by),
        promises=promises_of(card),
        triage=(triage.rule_out, triage.rule_in) if triage else None,
    )


def facts_of_ensemble(members: Sequence[ModelFacts], *, tta: bool = False) -> ModelFacts:
    """The facts of the mean of several models, or of one model's several views, as of one model.

    Nothing is promised of such a mean. Its fingerprint is the SHA-256 of its members'; in another
    order it is the same.
    """
    if len(members) == 1 and not tta:
        return members[0]
    views = ("five views of each image, and their mean",) if tta else ()
    if len(members) == 1:
        (only,) = members
        decisions = _joined([only.decisions, *views])
        return replace(only, decisions=decisions, promises=(), triage=None, remarks=views)
    told = [
        f"the mean of several models, of which one: {one.name}, architecture {one.arch}, "
        f"operating point {one.operating_point}, weights SHA-256 {one.fingerprint}"
        for one in members
    ]
    return ModelFacts(
        name=" + ".join(one.name for one in members),
        fingerprint=_joined(sorted(one.fingerprint for one in members)),
        arch=_together([one.arch for one in members]),
        operating_point=_together([one.operating_point for one in members]),
        calibration=_together([one.calibration for one in members]),
        decisions=_joined([*sorted(one.decisions for one in members), *views]),
        remarks=(*told, *views),
    )


def _joined(digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _together(words: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(words))
