"""The observations, and how their raw values become targets and a mask under a policy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import BLANKS, POLICIES
from cxrtool.core.errors import DataError, UsageError, unknown_name, unknown_names
from cxrtool.core.unicode_forms import normal

NO_FINDING = "No Finding"
SUPPORT_DEVICES = "Support Devices"

CHEXPERT_LABELS = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    SUPPORT_DEVICES,
)
"""The 14 observations of CheXpert, in the order of its tables (Irvin et al. 2019, Table 1)."""

POSITIVE, NEGATIVE, UNCERTAIN = 1.0, 0.0, -1.0
MAJORITY = 0.5
"""A share of readers above it is positive, below it negative; at it they are evenly divided."""
BLANKS_IN_WORDS = frozenset(("", "nan", "na", "n/a", "<na>", "none", "null"))
"""How programs write a blank cell."""
VALUES_IN_WORDS = {"true": POSITIVE, "yes": POSITIVE, "false": NEGATIVE, "no": NEGATIVE}

COMPETITION_LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five labels of the CheXpert competition (Irvin et al. 2019, section 4.2)."""

SMOOTH_ONES = (0.55, 0.85)
SMOOTH_ZEROS = (0.0, 0.3)
"""Between which an uncertain label's target is drawn: U-Ones+LSR and U-Zeros+LSR of Pham et al.
(2019, arXiv 1911.06475)."""

UNCERTAIN_RANGES = {
    "zeros": (NEGATIVE, NEGATIVE),
    "ones": (POSITIVE, POSITIVE),
    "ignore": (float("nan"), float("nan")),
    "smooth": SMOOTH_ONES,
    "smooth-zeros": SMOOTH_ZEROS,
}
"""What one label's policy makes of -1: the ends of the target's range, NaN for no target."""

MIXED = {
    # Five are what winning entries share (jfhealthcare/Chexpert, data/dataset.py; LibAUC,
    # libauc/datasets/chexpert.py). LibAUC takes zeros for the other nine; here the reasons for
    # going along. Percentages are of studies, uncertain against positive, in Irvin et al. (2019),
    # Table 1; parents and children are those of CheXpert's tree of labels.
    #
    # Never uncertain in train.csv, so this is for form's sake.
    NO_FINDING: "zeros",
    # 5.4 to 4.8: as ones, more than half of its positives would be guesses. Its only child,
    # Cardiomegaly, is zeros too.
    "Enlarged Cardiomediastinum": "zeros",
    # Shared. The labeler is also uncertain of reports such as "heart size is stable".
    "Cardiomegaly": "zeros",
    # 2.3 to 49.4: hardly matters. Its children are of both kinds, so the tree settles nothing.
    "Lung Opacity": "zeros",
    # 0.6 to 3.7: a small part either way, and a rare label that guesses would blur.
    "Lung Lesion": "zeros",
    # Shared.
    "Edema": "ones",
    # Shared. 12.8 to 6.8: as ones, two of three positives would be guesses.
    "Consolidation": "zeros",
    # 8.3 to 2.4: as ones, three of four positives would be guesses. Its parent, Consolidation, is
    # zeros: pneumonia without consolidation would contradict the tree.
    "Pneumonia": "zeros",
    # Shared. 15.7 to 15.6: as zeros, as many guesses would be negative as there are positives.
    "Atelectasis": "ones",
    # 1.4 to 9.2: a small part either way. No child or parent.
    "Pneumothorax": "zeros",
    # Shared.
    "Pleural Effusion": "zeros",
    # 0.9 to 1.3: as ones, two of five positives of the rarest label would be guesses.
    "Pleural Other": "zeros",
    # 0.3 to 3.9: hardly matters.
    "Fracture": "zeros",
    # 0.5 to 56.4: hardly matters.
    SUPPORT_DEVICES: "zeros",
}
"""The policy `mixed`, label by label."""
MIXED_ELSEWHERE = "ignore"
"""Under `mixed`, of a label that is not CheXpert's: nothing is known of its uncertain rows."""
POLICY_NAMES = {
    "zeros": "U-Zeros",
    "ones": "U-Ones",
    "ignore": "U-Ignore",
    "smooth": "U-Ones with smoothed labels",
}


def label_number(text: str, *, shares: bool = False) -> float | None:
    """A label's cell as 1, 0, -1 or (blank) NaN; None where it is none of these.

    With `shares`, where labels are shares of readers, anything in 0..1 is one, too.
    """
    bare = text.strip().lower()
    if bare in BLANKS_IN_WORDS:
        return float("nan")
    if bare in VALUES_IN_WORDS:
        return VALUES_IN_WORDS[bare]
    try:
        number = float(bare)
    except ValueError:
        return None
    share = shares and NEGATIVE <= number <= POSITIVE
    return number if share or number in (POSITIVE, NEGATIVE, UNCERTAIN) else None


def majority(targets: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What most readers say: the one place where targets in 0..1 become yes or no.

    It is what is counted, stratified and scored; a loss takes the targets as they are.

    Args:
        targets: of any shape, in 0..1, NaN where masked.

    Returns:
        Two of the same shape: where a target is positive (above one half), and where there is a
        majority at all. There is none where readers are evenly divided (exactly one half), and
        none where the target is masked.
    """
    positive = targets > MAJORITY  # NaN is neither above nor below
    return positive, positive | (targets < MAJORITY)


def divided(raw: NDArray[np.floating]) -> int:
    """On how many labels of how many images readers are evenly divided, which none can score."""
    return int((raw == MAJORITY).sum())


def named_ones(option: str, text: str, known: Sequence[str]) -> list[str]:
    """`A, B` to the names among `known`, in the order that they are given.

    Raises:
        UsageError: names that are not known (all of them are told), one that is there twice, or
            none at all.
    """
    spelled = {normal(name): name for name in known}
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if normal(name) not in spelled]
    if unknown:
        raise UsageError(f"{option}: " + unknown_names("label", unknown, known))
    if not asked:
        raise UsageError(f"{option} names none: there are {', '.join(known)}")
    found = [spelled[normal(name)] for name in asked]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UsageError(f"{option} names {', '.join(twice)} twice: name each once")
    return found


def parse_policy(text: str, labels: Sequence[str]) -> dict[str, str]:
    """Each label's policy: `zeros`, `ones`, `ignore`, `smooth` or `smooth-zeros`, never `mixed`.

    Args:
        text: one of `POLICIES`, and after it, if some labels differ, `LABEL=POLICY` for each of
            them, commas between: `ones,Pleural Effusion=zeros`.
        labels: the names that there are.

    Raises:
        UsageError: no policy for the rest of the labels comes first, a policy or a label is
            unknown, or a label is named twice.
    """
    default, *pairs = (part.strip() for part in text.split(","))
    if "=" in default:
        raise UsageError(
            f"uncertainty policy {text!r} has none for the other labels: write theirs first, "
            f"such as 'ones,{text}'"
        )
    if default not in POLICIES:
        raise UsageError(unknown_name("uncertainty policy", default, POLICIES))
    named: dict[str, str] = {}
    for pair in pairs:
        label, policy = _parse_pair(pair, labels)
        if label in named:
            raise UsageError(f"uncertainty policy {text!r} names {label} twice: name it once")
        named[label] = policy
    if default == "mixed":
        return {label: MIXED.get(label, MIXED_ELSEWHERE) for label in labels} | named
    return dict.fromkeys(labels, default) | named


def _parse_pair(pair: str, labels: Sequence[str]) -> tuple[str, str]:
    # From the right: a label's name may hold a =, a policy's does not.
    label, equals, policy = (part.strip() for part in pair.rpartition("="))
    if not equals:
        raise UsageError(
            f"uncertainty policy: {pair!r} is no LABEL=POLICY, such as 'Consolidation=zeros'"
        )
    spelled = {normal(name): name for name in labels}
    if normal(label) not in spelled:
        raise UsageError(unknown_name("label", label, labels))
    label = spelled[normal(label)]
    if policy not in UNCERTAIN_RANGES:
        names = tuple(UNCERTAIN_RANGES)
        raise UsageError(unknown_name(f"uncertainty policy of {label}", policy, names))
    return label, policy


def targets_and_mask(
    raw: NDArray[np.floating], labels: Sequence[str], policy: str, blank: str = "zeros"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Map raw label values to the truth that scores are compared with.

    Takes and raises what `target_ranges` does, the one place where values are mapped.

    Returns:
        Targets (n, labels) in {0, 1}, and a mask of the same shape: True where the target is one
        fixed value. Of a share of readers it is what most of them say. Where it is none (uncertain
        under `ignore`, `smooth` and `smooth-zeros`, not mentioned under blank `ignore`, readers
        evenly divided) the mask is False and the target 0.
    """
    lower, upper = np.moveaxis(target_ranges(raw, labels, policy, blank), -1, 0)
    positive, decided = majority(lower)
    mask = decided & (lower == upper)
    return (positive & mask).astype(np.float32), mask


def target_ranges(
    raw: NDArray[np.floating], labels: Sequence[str], policy: str, blank: str = "zeros"
) -> NDArray[np.float32]:
    """Map raw label values to what training targets are drawn from.

    Args:
        raw: (n, labels) with 1 positive, 0 negative, -1 uncertain, NaN not mentioned; between 0
            and 1 the share of readers who say positive, which is its own target.
        labels: the names of the columns.
        policy: what -1 becomes, as `parse_policy` reads it. `zeros` (U-Zeros): 0; `ones`
            (U-Ones): 1; `ignore` (U-Ignore): nothing (Irvin et al. 2019, section 3.1). `smooth`
            and `smooth-zeros`: drawn from `SMOOTH_ONES` and `SMOOTH_ZEROS`.
        blank: what a label becomes that is not mentioned: 0 under `zeros`, nothing under
            `ignore`.

    Returns:
        (n, labels, 2), the lower and the upper end of each target in [0, 1]: equal where it is
        fixed, both NaN where there is none.

    Raises:
        DataError: a value that is none of these.
        UsageError: an unknown policy or blank.

    Where all labels' policy and blank are `zeros`, a row that is left without any positive gets
    No Finding = 1, unless No Finding is an explicit 0 (or a share) there: radiologists' own
    negatives stay. A label of which half of the readers or more say positive is one.
    Under any other policy such a row may hold what is only not known. So that No Finding means
    the same in training and in scores, pass all labels that there are, and choose afterwards.
    """
    if blank not in BLANKS:
        raise UsageError(unknown_name("blank", blank, BLANKS))
    policies = parse_policy(policy, labels)
    values = _known_values(raw, labels)
    uncertain = np.array([UNCERTAIN_RANGES[policies[label]] for label in labels], np.float32)
    stated = values.copy()
    if blank == "zeros":
        stated[np.isnan(values)] = NEGATIVE
    ranges = np.where((values == UNCERTAIN)[..., None], uncertain, stated[..., None])
    if blank == "zeros" and set(policies.values()) == {"zeros"} and NO_FINDING in labels:
        column = list(labels).index(NO_FINDING)
        said = (values[:, column] >= NEGATIVE) & (values[:, column] < POSITIVE)
        unsaid = ~(values >= MAJORITY).any(axis=1) & ~said
        ranges[unsaid, column] = POSITIVE
    return ranges


def policy_name(policy: str) -> str:
    """An uncertainty policy as papers write it."""
    return POLICY_NAMES.get(policy, policy)


def _known_values(raw: NDArray[np.floating], labels: Sequence[str]) -> NDArray[np.float32]:
    """The raw values, refused where one is no label value.

    Whether shares are meant was decided where they were read: see `label_number`.
    """
    values = np.asarray(raw, dtype=np.float64)
    known = np.isnan(values) | (values == UNCERTAIN)
    known |= (values >= NEGATIVE) & (values <= POSITIVE)
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise DataError(
            f"row {row} of the labels has {values[row, column]:g} for {labels[column]}: "
            "expected 1, 0, -1 or nothing, or a share of readers in 0..1"
        )
    return values.astype(np.float32)
