"""Evaluations of runs by what they have seen."""

from cxrtool.core.config import EvaluateConfig
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.workflows.evaluate import evaluate_run
from tests.conftest import Listening


def evaluate(workspace, run, listening=None, **options):
    config = EvaluateConfig(
        run=str(run), bootstrap=0, batch_size=64, workers=0, report=False, **options
    )
    return evaluate_run(config, workspace, seed=1, reporter=listening or Listening())


def of_part(workspace, part):
    manifest = read_manifest(workspace.manifest)
    return manifest[read_split(workspace.split, manifest) == part]
