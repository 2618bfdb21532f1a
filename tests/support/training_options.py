"""Workspaces with other labels, and trainings of them."""

from dataclasses import replace

import pandas as pd

from cxrtool.core.console import SILENT
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.training.choices import resolve
from cxrtool.training.setup import set_up
from tests.conftest import TINY

LABELS = list(CHEXPERT_LABELS)
ONCE = replace(TINY, epochs=1, batch_size=8, limit=32)


def rows_of(workspace, *parts):
    manifest = read_manifest(workspace.manifest)
    split = read_split(workspace.split, manifest)
    return manifest[split.isin(parts)].assign(part=split[split.isin(parts)])


def write_cells(workspace, cells):
    """Set raw label cells: {(path, label): text}."""
    frame = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    frame = frame.set_index("path", drop=False)
    for (path, label), text in cells.items():
        frame.loc[path, label] = text
    frame.to_csv(workspace.manifest, index=False)


def set_up_tiny(workspace, seed=1, **changes):
    config, device = resolve(replace(TINY, **changes))
    return set_up(config, device, workspace, seed=seed, reporter=SILENT)
