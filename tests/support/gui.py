"""A made-up model behind the page, and images to show it."""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from cxrtool.data.logits import logits_of
from cxrtool.gui.desk import Model
from cxrtool.gui.heat_layers import HeatMaps
from cxrtool.gui.model_card import facts_of_file
from cxrtool.images.heat_grid import Cells
from cxrtool.inference.model_facts import ModelFacts
from cxrtool.inference.scorer import Scorer

LABELS = ("Edema", "Fracture", "No Finding")
CELLS = Cells(0.25, 0.5)
MARKUP = "<img src=x onerror=alert(1)>.png"


@dataclass(frozen=True)
class MeanEngine:
    """Tells images apart by their brightness."""

    name: str = "torch"
    device: str = "cpu"
    precision: str = "fp32"
    depth: int = 1
    batch: int = 1

    def submit(self, pixels):
        mean = pixels.mean(axis=(1, 2)) / 255
        return lambda: logits_of(np.stack([mean, 1 - mean, np.full_like(mean, 0.5)], 1))


@dataclass(frozen=True)
class Explainer:
    """Looks into one corner for the first label, and nowhere for others."""

    cells: Cells = CELLS

    def maps(self, pixels, labels, method="gradcam"):
        found = np.zeros((len(labels), 2, 2), np.float32)
        found[[label == "Edema" for label in labels], 0, 1] = 3
        return found


def scorer(engine=None):
    return Scorer(
        name="made-up",
        labels=LABELS,
        image_sizes=(8,),
        raw_thresholds={"Edema": 0.4, "Fracture": 0.95, "No Finding": None},
        calibration=None,
        without={},
        fingerprint="",
        engine=engine or MeanEngine(),
    )


def png(brightness, size=(40, 50)):
    """An image of this mean brightness that is not blank."""
    file = io.BytesIO()
    halves = np.full(size[::-1], brightness, np.uint8)
    halves[:, : size[0] // 2] += 9
    halves[:, size[0] // 2 :] -= 9
    Image.fromarray(halves).save(file, "PNG")
    return file.getvalue()


def heat_maps():
    made = HeatMaps(Explainer)
    made.start()
    return made


def model(engine=None, name="made-up", heat=None):
    """A model of the page."""
    made = replace(scorer(engine), name=name)
    facts = replace(facts_of_file(Path("m.onnx"), ABOUT, ""), name=name)
    known = ModelFacts(name=name, fingerprint="f" * 64, arch="resnet18", operating_point="youden")
    return Model(scorer=made, facts=facts, known=known, heat=heat or heat_maps())


ABOUT = {"arch": "resnet18", "squish": [320, 80], "labels": list(LABELS)}
