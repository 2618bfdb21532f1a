"""A run's thresholds as a pack holds them: what is promised goes with it, on whom it was seen not.

What `certify` was given has a name that may be a person's or a hospital's.
"""

from collections.abc import Mapping
from typing import Any

from cxrtool.core.run_cards import name_of_point

VALID = "valid"
LOCAL = "a local sample"
"""What any sample other than a run's own valid part is called."""
TOO_FEW = "valid had too few patients, or scores that do not vary"
ELSEWHERE = ", chosen on "
"""In the name of a point that was not chosen on valid, before the sample's (`name_of_point`)."""


def packed_thresholds(stored: Mapping[str, Any], without: Mapping[str, str]) -> dict[str, Any]:
    """What of thresholds.json may leave.

    Args:
        stored: what the run's own holds.
        without: why labels have no threshold.
    """
    rule, sample = stored["operating_point"], stored.get("chosen_on", VALID)
    family = stored.get("family")
    kept = {name: stored[name] for name in ("thresholds", "calibration") if name in stored}
    points = stored.get("operating_points", {})
    own = name_of_point(rule, family, sample)
    found = kept | {
        "operating_point": rule,
        "chosen_on": packed_sample(sample),
        "operating_points": {
            (name_of_point(rule, family, packed_sample(sample)) if name == own else name): values
            for name, values in points.items()
            if name == own or ELSEWHERE not in name
        },
        "without": _reasons(without, sample),
    }
    if family is not None:
        found["family"] = family
    if stored.get("certificates") is not None:
        found["certificates"] = {
            label: _certificate(one) for label, one in stored["certificates"].items()
        }
    if stored.get("triage") is not None:
        found["triage"] = _triage(stored["triage"])
    return found


def packed_point(point: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The operating point of an evaluation, without the name of a local sample."""
    if point is None:
        return None
    sample = str(point.get("chosen_on", VALID))
    packed = packed_sample(sample)
    return {
        name: text.replace(sample, packed) if name in ("chosen_on", "condition") else text
        for name, text in point.items()
    }


def packed_sample(name: str) -> str:
    """What a sample is called outside the house."""
    return name if name == VALID else LOCAL


def _triage(stored: Mapping[str, Any]) -> dict[str, Any]:
    labels = {
        label: {**of, "certificates": [_certificate(one) for one in of["certificates"]]}
        for label, of in stored["labels"].items()
    }
    return {
        **stored,
        "chosen_on": packed_sample(stored["chosen_on"]),
        "labels": labels,
        "without": _reasons(stored["without"], stored["chosen_on"]),
    }


def _certificate(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate without the sentence on what ended the search, which counts patients."""
    return {**stored, "ended": ""}


def _reasons(without: Mapping[str, str], sample: str) -> dict[str, str]:
    """Why labels have none, without how few patients there were and where."""
    return {
        label: why
        if sample == VALID and not any(character.isdigit() for character in why)
        else TOO_FEW
        for label, why in without.items()
    }
