"""Drawn X-rays with several readers' labels, in a workspace of shares."""

import numpy as np
import pandas as pd

from cxrtool.core.config import PrepareConfig, SplitConfig
from cxrtool.core.console import SILENT
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest

LABELS = ("Cardiomegaly", "Lung Opacity", "Edema", "Pleural Effusion")
COLUMNS = "path=image,patient_id=patient,reader=reader"


def reader_table(folder, readers=4, seed=0):
    """A row a reader and image of a drawn data set; readers agree on most of them."""
    frame = pd.read_csv(folder / "train.csv")
    paths = frame["Path"].str.extract("(train/.*)")[0]
    base = frame[list(LABELS)].eq(1).to_numpy()
    rng = np.random.default_rng(seed)
    rows = []
    for reader in range(readers):
        cells = base ^ (rng.random(base.shape) < 0.2)
        one = pd.DataFrame(cells.astype(int), columns=list(LABELS))
        about = {"image": paths, "patient": paths.str.split("/").str[1], "reader": f"R{reader}"}
        rows.append(one.assign(**about))
    return pd.concat(rows)


def prepare_readers(drawn, folder, rule="soft"):
    """A workspace of a drawn data set after prepare and split, and its table of readers."""
    workspace = Workspace(folder / "cxr")
    table = folder / "readers.csv"
    reader_table(drawn.folder).to_csv(table, index=False)
    options = PrepareConfig(
        data=table, columns=COLUMNS, images=drawn.folder, readers=rule, workers=0, cache_size=32
    )
    prepare_manifest(options, workspace, SILENT)
    split_manifest(SplitConfig(sizes="50,25,25"), workspace, seed=42)
    return workspace, table
