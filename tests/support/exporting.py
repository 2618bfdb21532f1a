"""Predictions with an exported model."""

from cxrtool.core.config import PredictConfig
from cxrtool.core.console import SILENT
from cxrtool.workflows.predict import predict_images


def scores(trained, inputs, reporter=SILENT, **options):
    config = PredictConfig(device="cpu", precision="fp32", workers=0, **options)
    names = [str(path) for path in inputs]
    return predict_images(config, names, trained.workspace, reporter)


def changed(exported, path, change):
    import onnx

    model = onnx.load(exported.output)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path
