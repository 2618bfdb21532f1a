"""How often 95 % intervals hold the true AUROC: `python tests/benchmarks/bench_coverage.py`.

Simulated patients whose true AUROC is known, in the settings where intervals fail: unequal
patients, scores of few levels, few positives, perfect ranks, a mean over five labels. Beside
cxrtool's interval over patients stand that of version 0.1 (log odds, Student's t of the rarer
class's patients, nothing for coarse scores or perfect ranks), DeLong's on log odds with patients as
clusters, and the plain percentiles of the same replicates. An interval that is not there holds
nothing: the share of those is said where it is 1 % or more.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, t

from cxrtool.evaluation.areas import areas_of
from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.delong import delong_areas
from cxrtool.evaluation.intervals import mean_freedom
from cxrtool.evaluation.sample import Sample

ALIKE = 0.6
"""Which share of a score's variance is its patient's."""
AT_ONCE = 25
"""Simulations that share their patients and draws, a column each."""
METHODS = ("cxrtool", "version 0.1", "DeLong", "percentiles")


@dataclass(frozen=True)
class Setting:
    """Patients and scores of one simulation."""

    name: str
    positives: int
    negatives: int
    apart: float
    """How far the classes' scores are apart, standard deviations."""
    images: str = "one"
    """Of a patient: `one`, `alike` (one to five), `unequal` (one patient in ten has 30)."""
    cuts: tuple[float, ...] = ()
    """Where scores are cut into levels; none: finely graded."""

    @property
    def true(self):
        """The true AUROC."""
        if not self.cuts:
            return norm.cdf(self.apart / np.sqrt(2))
        ends = np.array([-np.inf, *self.cuts, np.inf])
        positive, negative = np.diff(norm.cdf(ends - self.apart)), np.diff(norm.cdf(ends))
        return positive @ (np.cumsum(negative) - negative / 2)

    def sizes(self, rng, count):
        """How many images each of so many patients has."""
        if self.images == "unequal":
            return np.where(np.arange(count) % 10 == 0, 30, 1)
        return rng.integers(1, 6, count) if self.images == "alike" else np.ones(count, int)


SETTINGS = (
    Setting("one to five alike images", 50, 150, 1.5, "alike"),
    Setting("one to five alike images", 50, 450, 2.5, "alike"),
    Setting("one to five alike images", 200, 800, 0.5, "alike"),
    Setting("one patient in ten has 30", 30, 300, 1.0, "unequal"),
    Setting("one patient in ten has 30", 50, 150, 1.5, "unequal"),
    Setting("one patient in ten has 30", 100, 400, 1.5, "unequal"),
    Setting("one patient in ten has 30", 100, 400, 2.5, "unequal"),
    Setting("two levels", 20, 200, 0.5, "one", (2.2,)),
    Setting("two levels", 20, 200, 2.5, "one", (0.9,)),
    Setting("two levels", 50, 200, 0.5, "one", (2.2,)),
    Setting("two levels", 50, 200, 2.5, "alike", (0.5,)),
    Setting("three levels", 20, 200, 2.5, "one", (0.5, 1.5)),
    Setting("three levels", 30, 100, 0.5, "one", (2.0, 3.0)),
    Setting("three levels", 50, 200, 3.0, "alike", (0.5, 1.5)),
    Setting("5 positives", 5, 100, 0.5),
    Setting("5 positives", 5, 100, 1.5),
    Setting("5 positives", 5, 200, 2.5),
    Setting("10 positives", 10, 100, 0.5),
    Setting("10 positives", 10, 100, 1.5, "alike"),
    Setting("10 positives", 10, 200, 2.5),
    Setting("20 positives", 20, 200, 1.5, "alike"),
    Setting("20 positives", 20, 200, 2.5),
    Setting("often perfect", 10, 30, 3.5),
    Setting("often perfect", 15, 15, 3.0),
)
FIVE = (
    Setting("mean of five labels", 5, 295, 1.5, "alike"),
    Setting("mean of five labels", 10, 290, 2.5, "alike"),
    Setting("mean of five labels", 20, 280, 1.0, "alike"),
    Setting("mean of five labels", 50, 250, 1.5, "alike"),
    Setting("mean of five labels", 100, 200, 0.5, "alike"),
)
"""The labels of one mean, on the same 300 patients."""


def simulate(rng, settings):
    """A sample with a label a setting, on the same patients."""
    first = settings[0]
    sizes = np.concatenate([first.sizes(rng, first.positives), first.sizes(rng, first.negatives)])
    patients = np.repeat(np.arange(len(sizes)), sizes)
    truth = np.stack([patients < one.positives for one in settings], axis=1)
    shape = len(sizes), len(settings)
    errors = np.sqrt(ALIKE) * rng.normal(size=shape)[patients]
    errors += np.sqrt(1 - ALIKE) * rng.normal(size=truth.shape)
    scores = truth * [one.apart for one in settings] + errors
    if first.cuts:
        scores = np.digitize(scores, first.cuts).astype(float)
    return Sample(
        labels=tuple(map(str, range(len(settings)))),
        keys=np.arange(len(patients)).astype(str),
        patients=patients,
        studies=np.full(len(patients), ""),
        targets=truth,
        mask=np.ones(truth.shape, bool),
        scores=scores,
    )


def before(drawn, estimate, freedom):
    """Version 0.1's interval of one AUROC, or of a mean of them."""
    drawn = drawn[~np.isnan(drawn)]
    inside = drawn[(drawn > 0) & (drawn < 1)]
    if not 0 < estimate < 1 or not len(inside) or freedom < 1:
        return np.nan, np.nan
    kept = np.clip(drawn, inside.min() / 2, (1 + inside.max()) / 2)
    half = t.ppf(0.975, freedom) * np.sqrt((freedom + 1) / freedom) * np.std(logit(kept))
    return tuple(expit(logit(estimate) + np.array([-half, half])))


def of_labels(sample, areas, settings):
    """The intervals of each method of each label: (labels, methods, 2)."""
    found = []
    # All have one truth; delong_areas takes them for models.
    by_delong = delong_areas(sample.targets[:, 0], sample.scores, sample.patients)
    for at, (setting, ours) in enumerate(zip(settings, areas.aurocs(), strict=True)):
        drawn = areas.drawn.auroc[:, at]
        few = min(setting.positives, setting.negatives)
        nothing = (np.nan, np.nan)
        found.append(
            (
                ours.interval or nothing,
                before(drawn, areas.auroc[at], few - 1),
                by_delong.interval(at) or nothing,
                np.nanquantile(drawn, [0.025, 0.975]),
            )
        )
    return np.array(found)


def of_mean(areas):
    """The intervals of the mean over all labels, by the two methods that have one."""
    whole = areas.drawn.auroc
    freedom = mean_freedom(whole, [min(one.positives, one.negatives) - 1 for one in FIVE])
    ours = areas.mean_auroc(range(len(FIVE)))
    return np.array([ours.interval, before(whole.mean(axis=1), ours.value, freedom)])


def tell(name, detail, true, ends):
    """One line: how often each method's intervals (simulations, methods, 2) hold the truth."""
    held = 100 * ((ends[..., 0] <= true) & (true <= ends[..., 1])).mean(axis=0)
    absent = 100 * np.isnan(ends).any(axis=2).mean(axis=0)
    cells = [
        f"{method} {share:.1f}" + (f" (none {none:.0f})" if none >= 1 else "")
        for method, share, none in zip(METHODS, held, absent, strict=False)
    ]
    print(f"{name:26} {detail:12} {true:.3f}: {'   '.join(cells)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--only", help="settings whose name begins so")
    args = parser.parse_args()
    chosen = [one for one in SETTINGS if one.name.startswith(args.only or "")]
    print("patients, positives + negatives, true AUROC: per cent of intervals that hold it")
    for setting in chosen:
        rng, found = np.random.default_rng([setting.positives, setting.negatives]), []
        for seed in range(args.simulations // AT_ONCE):
            settings = [setting] * AT_ONCE
            sample = simulate(rng, settings)
            draws = draw_patients(sample.patients, replicates=args.replicates, seed=seed)
            found.extend(of_labels(sample, areas_of(sample, draws), settings))
        detail = f"{setting.positives} + {setting.negatives}"
        tell(setting.name, detail, setting.true, np.array(found))
    if FIVE[0].name.startswith(args.only or ""):
        rng, found = np.random.default_rng(5), []
        for seed in range(args.simulations):
            sample = simulate(rng, FIVE)
            draws = draw_patients(sample.patients, replicates=args.replicates, seed=seed)
            found.append(of_mean(areas_of(sample, draws)))
        true = np.mean([one.true for one in FIVE])
        tell(FIVE[0].name, "5 to 100", true, np.array(found))


if __name__ == "__main__":
    main()
