"""One finding under several spellings: names matched without case, blanks, `_`, `-` and synonyms.

A synonym here is another name of the very same finding. What one data set counts as another's
finding ("Infiltration" as Lung Opacity) is a judgement, and stands with that data set.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from cxrtool.core.errors import DataError, first_few
from cxrtool.core.unicode_forms import normal

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "No Finding": ("No Findings", "Normal", "No Abnormality"),
    "Enlarged Cardiomediastinum": (
        "Enlarged Cardiomediastinal Silhouette",
        "Enlarged Cardiac Silhouette and Mediastinum",
    ),
    "Cardiomegaly": ("Enlarged Heart",),
    # MIMIC-CXR-JPG calls it so in its own tables; CheXpert's paper (Irvin et al. 2019) as well.
    "Lung Opacity": ("Airspace Opacity", "Airspace Opacities", "Lung Opacities"),
    "Lung Lesion": ("Lung Lesions", "Nodule or Mass", "Nodule/Mass"),
    "Edema": ("Oedema", "Pulmonary Edema", "Pulmonary Oedema", "Lung Edema"),
    "Consolidation": ("Consolidations",),
    "Atelectasis": ("Atelectases",),
    "Pleural Effusion": ("Effusion", "Pleural Effusions"),
    "Fracture": ("Fractures",),
    "Support Devices": ("Support Device", "Devices"),
}
"""Other names of CheXpert's observations."""
_LEFT_OUT = re.compile(r"[\s_\-]+")


def spelling(name: str) -> str:
    """A name without what people spell differently: `Pleural_effusion` is `pleuraleffusion`."""
    return _LEFT_OUT.sub("", normal(name)).casefold()


_SAME = {spelling(other): spelling(label) for label, others in SYNONYMS.items() for other in others}


def finding_key(name: str) -> str:
    """The same text for two names of one finding."""
    spelled = spelling(name)
    return _SAME.get(spelled, spelled)


def match_columns(wanted: Sequence[str], there: Iterable[str], where: str) -> dict[str, str]:
    """Which of the columns that are there are wanted, whatever their case, blanks, `_` and `-`.

    Returns:
        {wanted: there}, of those that were found. A column of the very name is preferred.

    Raises:
        DataError: several columns could be the one.
    """
    return _match(wanted, there, where, by=spelling)


def match_labels(wanted: Sequence[str], there: Iterable[str], where: str) -> dict[str, str]:
    """Which of the names that are there are the wanted labels, synonyms among them.

    Returns and raises as `match_columns`.
    """
    return _match(wanted, there, where, by=finding_key)


def _match(
    wanted: Sequence[str], there: Iterable[str], where: str, *, by: Callable[[str], str]
) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    names = list(there)
    for name in names:
        found.setdefault(by(name), []).append(name)
    matched, unclear = {}, []
    for name in wanted:
        same = [name] if name in names else found.get(by(name), [])
        if len(same) > 1:
            unclear.append(f"{name} ({', '.join(same)})")
        elif same:
            matched[name] = same[0]
    if unclear:
        raise DataError(
            f"{where} has several columns that could be {first_few(unclear)}: "
            "rename or remove all but one"
        )
    return matched
