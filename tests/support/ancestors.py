"""Evaluations of runs by what they have seen."""

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.patient_keys import read_keys
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
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


def people_of(workspace, name):
    """The ids of those of the workspace that a run was trained on, and chosen on."""
    card, (key, *_) = read_card(RunFolder(workspace.runs / name)), read_keys(workspace.patients_key)
    assert card.patients_key == key.fingerprint
    everybody = read_manifest(workspace.manifest)["patient_id"].unique()
    ids = dict(zip(key.hashed(everybody), everybody, strict=True))
    return tuple({ids[one] for one in of} for of in (card.train_patients, card.valid_patients))
