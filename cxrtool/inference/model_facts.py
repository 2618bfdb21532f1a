"""What a result says of the model that it is from, so that it can be traced back to it."""

from dataclasses import dataclass

from cxrtool import __version__
from cxrtool.core.run_cards import RunCard, calibration_words
from cxrtool.inference.engines.exported import ExportedCard

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
    version: str = __version__
    """Of cxrtool."""

    @property
    def short_fingerprint(self) -> str:
        """The fingerprint's first digits."""
        return self.fingerprint[:SHORT]


def facts_of_run(name: str, card: RunCard) -> ModelFacts:
    """A finished run's facts; `card` is of `read_card`."""
    edited = ", edited by hand" if card.edited else ""
    return ModelFacts(
        name=name,
        fingerprint=card.weights_sha256,
        arch=card.arch,
        operating_point=f"{card.operating_point}{edited}",
        calibration=calibration_words(card.calibration),
    )


def facts_of_exported(name: str, card: ExportedCard) -> ModelFacts:
    """An exported model's facts, as far as its file says; `card` is of `read_exported`."""
    return ModelFacts(
        name=name,
        fingerprint=card.sha256,
        arch=str(card.about.get("arch") or NOT_KNOWN),
        operating_point=str(card.about.get("operating_point") or NOT_KNOWN),
        calibration=calibration_words(card.calibration),
    )
