"""Results for tables of a paper, and how to look into such a table."""

import random

from cxrtool.data.labels import CHEXPERT_LABELS, COMPETITION_LABELS
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.references import sort_references
from tests.support.results import result_of

HOLDOUT = {
    "name": "holdout",
    "labels_by": "labeler of train.csv",
    "uncertainty": "ones",
    "blank": "zeros",
    "split_by": "patient",
    "views": ["frontal"],
}
BY_IMAGE = {**HOLDOUT, "split_by": "image"}
EXPERT = {**HOLDOUT, "name": "expert", "views": ["frontal", "lateral"]}
DENSENET = "DenseNet-121, U-Ones (chest-xray-bench)"


def values_of(run="a", protocol=HOLDOUT, *, aurocs=None, labels=CHEXPERT_LABELS, seed=0, **changes):
    """A result with random scores, or with those of `aurocs` (None: not defined)."""
    draw = random.Random(seed)
    unit, n = changes.pop("unit", "image"), changes.pop("n", 19_103)
    figures = {}
    for label in labels:
        auroc = (aurocs or {}).get(label, draw.uniform(0.6, 0.9))
        ci = None if auroc is None else [auroc - 0.02, auroc + 0.02]
        figures[label] = {"auroc": auroc, "auroc_ci": ci, "n": n, "positives": 100}
    known = [of["auroc"] for of in figures.values() if of["auroc"] is not None]
    five = [label for label in COMPETITION_LABELS if label in labels]
    scores = [figures[label]["auroc"] for label in five if figures[label]["auroc"] is not None]
    references = sort_references(
        Protocol(**{**protocol, "views": tuple(protocol["views"])}),
        dataset=changes.pop("dataset", "chexpert"),
        unit=unit,
        rows=n,
        labels=labels,
    )
    made = {
        "run": run,
        "split": "test",
        "protocol": protocol,
        "unit": unit,
        "n": n,
        "patients": 6_453,
        "intervals": {"replicates": 1000, "seed": 42, "level": 0.95, "resampled": "patients"},
        "mean_auroc": sum(known) / len(known) if known else None,
        "mean_auroc_ci": [0.7, 0.8],
        "defined": len(known),
        "competition": {
            "labels": five,
            "mean_auroc": sum(scores) / len(scores) if scores else None,
            "mean_auroc_ci": None,
            "defined": len(scores),
        },
        "labels": figures,
        "operating_point": None,
        "references": {"same": references.same, "other": references.other},
    }
    return {**made, **changes}


def result(*args, **changes):
    return result_of(values_of(*args, **changes))


def expert(run="e", **changes):
    return result(run, EXPERT, **{"unit": "study", "n": 200, **changes})


def cells(made, row):
    return next(cells[1:] for cells in made.rows if cells[0] == row)


def bold(made):
    return {(made.rows[row][0], made.columns[column]) for row, column in made.bold}
