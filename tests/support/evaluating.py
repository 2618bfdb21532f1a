"""A run's evaluation as the command makes it."""

from cxrtool.core.config import EvaluateConfig
from cxrtool.data.labels import CHEXPERT_LABELS, targets_and_mask
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.workflows.evaluate import evaluate_run
from tests.conftest import Listening

LABELS = list(CHEXPERT_LABELS)
QUICK = {"device": "cpu", "precision": "fp32", "workers": 0, "bootstrap": 100, "report": False}


def evaluate(trained, reporter=None, **options):
    config = EvaluateConfig(**{**QUICK, "run": trained.run, **options})
    return evaluate_run(config, trained.workspace, seed=1, reporter=reporter or Listening())


def truth_of(trained, part, policy="ones"):
    manifest = read_manifest(trained.workspace.manifest)
    rows = manifest[read_split(trained.workspace.split, manifest) == part]
    targets, _ = targets_and_mask(rows[LABELS].to_numpy(dtype=float), LABELS, policy)
    return rows, targets == 1
