"""A run that was scored, and packs of it."""

import getpass
import json
import socket
import zipfile

from cxrtool.core.config import EvaluateConfig, RunsConfig
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.pack_run import pack_run
from tests.conftest import Listening


def score(trained, **options):
    """Scores of `tiny` on test, without pictures of them."""
    config = EvaluateConfig(run="tiny", bootstrap=0, report=False, workers=0, **options)
    return evaluate_run(config, trained.workspace, seed=1, reporter=Listening())


def pack(trained, output, **options):
    return pack_run(RunsConfig(names=["tiny"], output=output, **options), trained.workspace)


def alter(path, name, change, *, rename=None):
    """Write a zip again with one of its files changed."""
    with zipfile.ZipFile(path) as file:
        found = {entry.filename: file.read(entry) for entry in file.infolist()}
    with zipfile.ZipFile(path, "w") as file:
        for entry, content in found.items():
            mine = entry.endswith(f"/{name}")
            if mine and change is None:
                continue
            file.writestr(
                rename if mine and rename else entry,
                change(content) if mine and change else content,
            )


def private_words(trained):
    """What must not be in a pack: ids, their hashes, paths, and names of user and machine."""
    import pandas as pd

    manifest = pd.read_csv(trained.workspace.manifest, dtype=str)
    kept = json.loads((trained.workspace.runs / "tiny" / "patients.json").read_text())
    folders = [trained.workspace.folder, trained.workspace.folder.parent, trained.data]
    return {
        *manifest["patient_id"],
        *manifest["study_id"],
        *manifest["path"],
        *kept["train"],
        *kept["valid"],
        kept["key"],
        *kept["registers"],
        *map(str, folders),
        *(name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4),
        "train.csv",
        "patients.key",
    }
