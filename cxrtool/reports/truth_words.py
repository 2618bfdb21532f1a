"""What the truth of an evaluation was made of, in words."""

from cxrtool.core.errors import UsageError, counted, grouped
from cxrtool.data.labels import NO_FINDING, parse_policy
from cxrtool.evaluation.result import EvaluationResult

COUNTS_AS = {"ones": "positive", "zeros": "negative"}
"""What an uncertain label counts as in the truth; under every other policy it is left out."""


def truth_words(result: EvaluationResult) -> str:
    """What a label called uncertain counts as in the truth, in words."""
    protocol, labels = result.protocol, list(result.labels)
    readers = _readers_words(result)
    try:
        policies = parse_policy(protocol.uncertainty, labels)
    except UsageError:  # it also names labels that the scores have not
        return f"Labels called uncertain follow the policy {protocol.uncertainty}.{readers}"
    meanings = grouped((COUNTS_AS.get(name, ""), label) for label, name in policies.items())
    parts: list[str] = []
    for meaning, of in sorted(meanings.items(), key=lambda item: len(item[1])):
        whom = "" if len(meanings) == 1 else f" for {', '.join(of)}"
        if len(parts) == len(meanings) - 1 and parts:
            whom = " for every other label"
        parts.append((f"count as {meaning}" if meaning else "are left out") + whom)
    sentence = f"Labels called uncertain {'; they '.join(parts)} (policy {protocol.uncertainty})."
    if set(policies.values()) == {"zeros"} and protocol.blank == "zeros" and NO_FINDING in labels:
        sentence += f" What is left without any positive counts as {NO_FINDING}."
    return sentence + readers


def _readers_words(result: EvaluationResult) -> str:
    """What several readers' labels of an image count as, and what is left out of them."""
    if result.protocol.readers is None:
        return ""
    sentence = f" Where several readers labelled an image: {result.protocol.readers_words}."
    if result.divided:
        sentence += (
            f" Left out are {counted(result.divided, 'label value')} on which they are evenly "
            "divided."
        )
    return sentence
