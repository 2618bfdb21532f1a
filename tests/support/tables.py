"""Tables of labels and of predictions as others publish them."""

import numpy as np
import pandas as pd

from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.tables.matching import match_scores
from cxrtool.evaluation.tables.scores import read_score_table
from cxrtool.evaluation.tables.truth import read_truth_table

FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
ABOUT = ["path", "patient_id", "study_id", "view", "orientation", "sex", "age", "source"]


def read(truth, *scores, key=None, labels=None, aggregate="mean"):
    table = read_truth_table(truth, key, labels)
    return match_scores(table, [read_score_table(path, table, key) for path in scores], aggregate)


def official_test(count=500):
    """The public test labels and a leaderboard's predictions, as published but for the values."""
    rng = np.random.default_rng(1)
    studies = [f"CheXpert-v1.0/test/patient{64741 + row}/study1" for row in range(count)]
    truth = pd.DataFrame({"Study": studies})
    truth[list(CHEXPERT_LABELS)] = rng.integers(0, 2, (count, 14))
    scores = pd.DataFrame({"Study": studies})
    scores[list(FIVE)] = rng.random((count, 5))
    return truth, scores


def chexpert(seed=0, patients=30):
    """A table as CheXpert's train.csv: some studies with several images."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in rng.permutation(patients) + 1:
        for study in range(1, rng.integers(1, 4)):
            for view in range(1, rng.integers(2, 5)):
                side = "lateral" if view == 3 else "frontal"
                name = f"view{view}_{side}.jpg"
                path = f"CheXpert-v1.0-small/train/patient{patient:05d}/study{study}/{name}"
                about = ("Male", 40 + patient, side.title(), "AP" if view < 3 else "")
                labels = rng.choice(["1.0", "0.0", "-1.0", ""], 14)
                rows.append((path, *about, *labels))
    columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
    return pd.DataFrame(rows, columns=columns)


def scores_of(truth, seed=0, labels=FIVE, key="Path"):
    scores = truth[[key]].copy()
    scores[list(labels)] = np.random.default_rng(seed).normal(size=(len(truth), len(labels)))
    return scores


def short(path):
    return path[path.index("patient") :]


def manifest(seed=0):
    frame = chexpert(seed)
    paths = frame["Path"].str.removeprefix("CheXpert-v1.0-small/")
    parts = paths.str.split("/")
    about = [paths, parts.str[1], parts.str[1] + "/" + parts.str[2], frame["Frontal/Lateral"]]
    about = [*about, frame["AP/PA"], frame["Sex"], frame["Age"], "train"]
    made = pd.DataFrame(dict(zip(ABOUT, about, strict=True)))
    made["view"] = made["view"].str.lower()
    made[list(CHEXPERT_LABELS)] = frame[list(CHEXPERT_LABELS)].replace({"1.0": "1", "0.0": "0"})
    return made


def keyed(write, truth, scores, key=None):
    """The scores, in the truth's order, of tables with one label and these keys."""
    labels = [",Edema", *(f",{row % 2}" for row in range(len(truth) - 1))]
    values = [",Edema", *(f",{row}" for row in range(len(scores) - 1))]
    t = write("t.csv", [line + label for line, label in zip(truth, labels, strict=True)])
    p = write("p.csv", [line + value for line, value in zip(scores, values, strict=True)])
    return read(t, p, key=key).scores[0][:, 0].tolist()


TRUTH = ["path,Edema,Fracture", "a,1,0", "b,0,1", "c,0,1"]
