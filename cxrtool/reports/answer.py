"""What stands first: the labels that matter, with what the model gets of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from cxrtool.evaluation.result import EvaluationResult, LabelScores

MOST = 5
"""Labels in the answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The labels that stand first, and why these."""

    labels: Mapping[str, LabelScores]
    why: str
    with_rates: bool
    """Whether any of them has a threshold."""


def answer_of(result: EvaluationResult) -> Answer:
    """The competition's labels where five were scored on enough; else those of most patients."""
    five = result.competition
    if (
        five is not None
        and len(five.labels) == MOST
        and set(five.labels) <= set(result.labels)
        and not all(result.labels[name].too_few for name in five.labels)
    ):
        names, why = five.labels, "the five labels of the CheXpert competition"
    else:
        defined = [name for name, one in result.labels.items() if one.auroc.value is not None]
        most = sorted(defined, key=lambda name: -result.labels[name].positive_patients)[:MOST]
        names = tuple(name for name in defined if name in most)
        why = "all labels" if len(defined) <= MOST else "the labels of most patients"
    labels = {name: result.labels[name] for name in names}
    rates = any(one.threshold is not None for one in labels.values())
    return Answer(labels=labels, why=why, with_rates=rates)
