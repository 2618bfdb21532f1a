"""Thresholds that keep a promise: sensitivity, specificity, PPV or NPV at least so high.

A threshold whose sensitivity on a sample is 0.9 has less among other patients about every other
time. A certified one has less in at most one sample of twenty (at 95 % confidence), whatever the
scores look like: it is the best threshold at which the hypothesis "the sensitivity is below 0.9" is
rejected by the exact binomial test (Clopper & Pearson 1934, Biometrika 26:404-413; as risk control,
"learn then test": Angelopoulos et al. 2021, arXiv 2110.01052). It holds for patients who come as
those of the sample did, for nobody else.

**What is promised.** The mean over patients of the share of a patient's rows that are right: of the
positive rows for a sensitivity, of the negative ones for a specificity, of those called positive
for a PPV, of those called negative for an NPV. So each patient counts once, and one that is half
wrong is half an error: the binomial's tail is taken at the sum of these shares, through the beta
function, as Korn and Graubard do (1998, Surv. Methodol. 24:193-201). With one row a patient, or
rows that are all right or all wrong, this is the exact test. Where rows differ, a share varies less
than an error that is all or nothing (Hoeffding 1963, J. Am. Stat. Assoc. 58:13-30), so that the
promise is kept oftener than it must be. To count rows in place of patients would promise too much,
since rows of one patient are alike; an effective number of rows is as good as its estimate, which
of the two or three errors that may happen among 68 patients is none. That all rows of a patient be
right would be another, harder promise.

**Why looking for the threshold costs nothing.** Of a sensitivity or specificity: they only fall or
only rise with the threshold, the p-value too, and so only the first threshold at which the promise
is not kept can be chosen wrongly. A PPV or NPV may do either: see `_in_sequence`.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betainc, betaincinv

from cxrtool.core.json_files import JsonResult
from cxrtool.evaluation.metrics import Counts, Floats

QUANTITIES = ("sensitivity", "specificity", "ppv", "npv")
MOST_PATIENTS = 2**31
"""No promise needs more; a share so near to 1 that one would is none that can be kept."""
STEP = 1.1
"""By what factor the numbers of patients grow along which a PPV or NPV is tested."""
FIRST_ERRORS = 2
"""How many errors the first of these tests allows."""


@dataclass(frozen=True, kw_only=True)
class Certificate(JsonResult):
    """What a threshold is known to keep, and on whom it was seen."""

    quantity: str
    promised: float
    reached: float
    """The lower bound: what could have been promised of this threshold."""
    level: float
    """How often a promise like this one is broken, at most."""
    patients: int
    """Over whom the bound is: with a positive, with a negative, called positive or negative."""
    wrong: float
    """How many of them were wrong; a patient some of whose rows were counts in part."""
    positive_patients: int
    negative_patients: int
    ended: str = ""
    """What ended the search, of a PPV or NPV."""


@dataclass(frozen=True, kw_only=True)
class Certified:
    """A threshold with its certificate, or why there is none."""

    threshold: float = float("nan")
    certificate: Certificate | None = None
    reason: str = ""
    others: tuple[float, ...] = ()
    """Of a PPV or NPV, all thresholds that were certified, the chosen one too."""
    exhausted: bool = False
    """Whether each threshold that was tested was certified: its level is not used up."""


@dataclass(frozen=True)
class LabelRows:
    """The rows of one label that count: (n,) each."""

    positive: NDArray[np.bool_]
    score: Floats
    patient: Counts
    """Numbers from 0."""

    @classmethod
    def of(cls, y_true: ArrayLike, y_score: ArrayLike, patients: ArrayLike) -> "LabelRows":
        """From targets, scores and patients' names of rows that all count."""
        names = np.unique(np.asarray(patients), return_inverse=True)[1]
        return cls(np.asarray(y_true, bool), np.asarray(y_score, np.float64), names)

    def patients_with(self, rows: NDArray[np.bool_]) -> int:
        """How many patients some of the rows are of."""
        return len(np.unique(self.patient[rows]))


def least_patients(share: float, level: float, errors: int = 0) -> int:
    """With how many patients a share can be promised at a level, where so many are wrong.

    >>> [least_patients(share, 0.05) for share in (0.9, 0.95, 0.98)]
    [29, 59, 149]
    """
    counts = range(errors + 1, MOST_PATIENTS)
    at = bisect_left(counts, True, key=lambda n: bool(bdtr(errors, n, 1 - share) <= level))
    return counts[min(at, len(counts) - 1)]


def p_value(wrong: Counts, rows: Counts, share: float) -> float:
    """How likely so few errors are if the share of right rows is just too low.

    P(Binomial(patients, 1 - share) <= errors), errors being a sum of shares; 1 without patients.

    Args:
        wrong: (patients,) how many of a patient's rows are errors.
        rows: (patients,) of how many.
        share: what is to be promised.
    """
    errors = float(np.sum(wrong / rows))
    right = len(rows) - errors
    return float(betainc(right, errors + 1, share)) if right > 0 else 1.0


def lower_bound(wrong: Counts, rows: Counts, level: float) -> float:
    """The greatest share that can be promised at a level: arguments as those of `p_value`.

    Where each patient has one row it is Clopper's and Pearson's bound.
    """
    errors = float(np.sum(wrong / rows))
    right = len(rows) - errors
    return float(betaincinv(right, errors + 1, level)) if right > 0 else 0.0


def certify(quantity: str, share: float, level: float, rows: LabelRows) -> Certified:
    """The best threshold of one label at which a promise holds, but in `level` of all samples.

    Of a sensitivity the highest, of a specificity the lowest; of a PPV the lowest and of an NPV the
    highest among those that were tested. Score >= threshold is positive.

    Args:
        quantity: one of `QUANTITIES`.
        share: what is promised, in (0, 1).
        level: how often the promise may be broken, such as 0.05.
        rows: of the label, all that count.
    """
    whom, available = _available(quantity, rows)
    least = least_patients(share, level)
    if not enough_patients(quantity, share, level, rows):
        return Certified(
            reason=f"has {available:,} of the {least:,} patients {whom}that "
            f"{quantity_text(quantity)} {share:g} at {100 * (1 - level):.4g} % confidence needs"
        )
    if quantity in ("sensitivity", "specificity"):
        return _monotone(quantity, share, level, rows)
    return _in_sequence(quantity, share, level, rows)


def quantity_text(quantity: str) -> str:
    """A quantity as it is written in a sentence.

    >>> quantity_text("npv"), quantity_text("sensitivity")
    ('NPV', 'sensitivity')
    """
    return quantity.upper() if quantity in ("ppv", "npv") else quantity


def enough_patients(quantity: str, share: float, level: float, rows: LabelRows) -> bool:
    """Whether a promise can be kept by so many patients: arguments as those of `certify`."""
    return _available(quantity, rows)[1] >= least_patients(share, level)


def _available(quantity: str, rows: LabelRows) -> tuple[str, int]:
    """Of whom there must be enough, in words, and how many there are."""
    if quantity == "sensitivity":
        return "with a positive ", rows.patients_with(rows.positive)
    if quantity == "specificity":
        return "with a negative ", rows.patients_with(~rows.positive)
    return "", rows.patients_with(np.ones_like(rows.positive))


def tally(quantity: str, threshold: float, rows: LabelRows) -> tuple[Counts, Counts]:
    """Of each patient that counts, how many rows are wrong, and of how many: (patients,) each."""
    called = rows.score >= threshold
    among, wrong = {
        "sensitivity": (rows.positive, ~called),
        "specificity": (~rows.positive, called),
        "ppv": (called, ~rows.positive),
        "npv": (~called, rows.positive),
    }[quantity]
    size = int(rows.patient.max(initial=-1)) + 1
    totals = np.bincount(rows.patient[among], minlength=size)
    errors = np.bincount(rows.patient[among & wrong], minlength=size)
    return errors[totals > 0], totals[totals > 0]


def certificate_at(
    quantity: str, share: float, level: float, rows: LabelRows, threshold: float
) -> Certificate:
    """What is known of a threshold at which a promise holds: arguments as those of `certify`."""
    wrong, totals = tally(quantity, threshold, rows)
    return Certificate(
        quantity=quantity,
        promised=share,
        reached=lower_bound(wrong, totals, level),
        level=level,
        patients=len(totals),
        wrong=float(np.sum(wrong / totals)),
        positive_patients=rows.patients_with(rows.positive),
        negative_patients=rows.patients_with(~rows.positive),
    )


def above(highest: float) -> float:
    """A number just above the highest score: nobody is positive at it.

    It follows a float32, as next to no score does. By that it is known for what it is where
    probabilities are calibrated (`operating_points`): a curve may give the highest score's and the
    next float64's one value, and would make somebody positive.
    """
    with np.errstate(over="ignore"):
        single = np.float32(highest)
        if float(single) < highest:
            single = np.nextafter(single, np.float32(np.inf))
    return float(np.nextafter(float(single) if np.isfinite(single) else highest, np.inf))


def _monotone(quantity: str, share: float, level: float, rows: LabelRows) -> Certified:
    """Halve the scores until the last one is found at which the promise holds."""
    if quantity == "sensitivity":
        candidates = np.unique(rows.score[rows.positive])
    else:
        scores = np.unique(rows.score)
        candidates = np.append(scores, above(float(scores[-1])))[::-1]
    # The first holds: nobody is wrong there, and there are patients enough.
    holds, fails = 0, len(candidates)
    while fails - holds > 1:
        middle = (holds + fails) // 2
        if p_value(*tally(quantity, float(candidates[middle]), rows), share) <= level:
            holds = middle
        else:
            fails = middle
    threshold = float(candidates[holds])
    found = certificate_at(quantity, share, level, rows, threshold)
    return Certified(threshold=threshold, certificate=found)


def _in_sequence(quantity: str, share: float, level: float, rows: LabelRows) -> Certified:
    """Test thresholds in an order that is fixed beforehand until one fails ("fixed sequence").

    A PPV is tested from the highest scores down, an NPV from the lowest up, each time with `STEP`
    as many patients called: which thresholds these are depends on scores alone, not on who is
    positive. So each is tested at the full level, and in at most that share of samples any of those
    that pass breaks its promise (Angelopoulos et al. 2021, section 2.2). The first one calls so
    many patients that `FIRST_ERRORS` may be wrong, or fewer where the sample has not so many: with
    the least number a single error would end it. A threshold is the last score that is called, or
    the first that is not, which assumes that a score says no less than those beyond it.
    """
    order = order_of_tests(quantity, share, level, rows)
    certified: list[float] = []
    ended = "each threshold that was tested holds"
    for threshold in order:
        wrong, totals = tally(quantity, threshold, rows)
        if p_value(wrong, totals, share) > level:
            ended = (
                f"at {threshold:.4g}, of {len(totals):,} patients called "
                f"{_CALLED[quantity]}, {float(np.sum(wrong / totals)):.4g} are wrong"
            )
            break
        certified.append(threshold)
    if not certified:
        return Certified(reason=f"has no threshold of {quantity_text(quantity)} {share:g}: {ended}")
    found = certificate_at(quantity, share, level, rows, certified[-1])
    return Certified(
        threshold=certified[-1],
        certificate=replace(found, ended=ended),
        others=tuple(certified),
        exhausted=len(certified) == len(order),
    )


_CALLED = {"ppv": "positive", "npv": "negative"}


def order_of_tests(quantity: str, share: float, level: float, rows: LabelRows) -> list[float]:
    """The thresholds in the order of testing."""
    size = int(rows.patient.max(initial=-1)) + 1
    extreme = np.full(size, np.inf)
    sign = -1.0 if quantity == "ppv" else 1.0
    np.minimum.at(extreme, rows.patient, sign * rows.score)
    ends = np.sort(extreme[np.isfinite(extreme)])
    fewest = [least_patients(share, level, errors) for errors in range(FIRST_ERRORS, -1, -1)]
    number = float(next(count for count in fewest if count <= len(ends)))
    counts = []
    while number < len(ends):
        counts.append(int(number))
        number = max(number * STEP, number + 1)
    last = ends[np.array([*counts, len(ends)]) - 1]
    if quantity == "npv":
        scores = np.append(np.unique(rows.score), above(float(rows.score.max())))
        last = -scores[np.searchsorted(scores, last, "right")]
    return list(dict.fromkeys((-last).tolist()))
