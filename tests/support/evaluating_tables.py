"""Tables of predictions, scored as the command does."""

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.console import SILENT
from cxrtool.workflows.evaluate import evaluate_run

FIVE = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]


def evaluate(trained, *, reporter=SILENT, **options):
    values = {"run": "tiny", "bootstrap": 0, "report": False, "workers": 0, "device": "cpu"}
    config = EvaluateConfig(**{**values, **options})
    return evaluate_run(config, trained.workspace, seed=1, reporter=reporter)
