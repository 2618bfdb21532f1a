"""Predictions as the command makes them."""

from dataclasses import replace

from cxrtool.core.config import PredictConfig
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.workflows.predict import predict_images

LABELS = list(CHEXPERT_LABELS)
CPU = PredictConfig(device="cpu", precision="fp32", workers=0, engine="torch")


def predict(trained, inputs, **options):
    config = replace(CPU, **options)
    return predict_images(config, [str(path) for path in inputs], trained.workspace)
