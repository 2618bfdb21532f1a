"""Score images with an exported model where there is no cxrtool: ONNX Runtime, Pillow and NumPy.

    python examples/onnx_alone.py model.onnx image.jpg another.png

The file describes itself: the labels, their thresholds, and the sizes to which an image is resized
in turn. A calibrated model gives the probabilities before calibration, which is what its thresholds
apply to.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def pixels_of(path: str, squares: list[int]) -> np.ndarray:
    """An 8-bit JPEG, PNG or TIFF as the network takes it: grey bytes (side, side)."""
    grey = Image.open(path).convert("L")
    for side in squares:
        grey = grey.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(grey)


def main() -> None:
    """Print a line for each finding over its threshold."""
    model, *paths = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["cxrtool"])
    images = np.stack([pixels_of(path, about["squish"]) for path in paths])
    (scores,) = session.run(["probabilities"], {"images": images})
    for path, probabilities in zip(paths, scores, strict=True):
        for label, value in zip(about["labels"], probabilities, strict=True):
            limit = about["thresholds"][label]
            if limit is not None and value >= limit:
                print(f"{path}\t{label}\t{value:.3f}\t(threshold {limit:.3f})")


if __name__ == "__main__":
    main()
