"""How long the commands take to start, beside what they cannot be faster than.

python tests/benchmarks/bench_startup.py WORKSPACE IMAGE

Pairs of runs in turn: `cxrtool --help` beside a bare Python, and `cxrtool predict IMAGE` with the
last run of WORKSPACE, on torch and on each other engine that is installed (from the graph that the
first call keeps), beside a bare script that imports torch and torchvision, builds the same network,
loads the same weights and scores the same image. Medians, and the median of the ratios.
"""

import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

PAIRS = 7
BARE = """
import json, sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import models
run = max(Path(sys.argv[1]).glob("runs/*/model.json"), key=lambda p: p.stat().st_mtime_ns).parent
card = json.loads((run / "model.json").read_text())
state = load_file(run / "model.safetensors")
n = next(v.shape[0] for k, v in state.items() if k in ("fc.weight", "classifier.weight"))
network = models.get_model(card["arch"], weights=None, num_classes=n)
network.load_state_dict(state)
size = card["image_size"]
grey = Image.open(sys.argv[2]).convert("L").resize((size, size), Image.Resampling.BILINEAR)
x = (torch.from_numpy(np.asarray(grey).copy()).float() / 255 - card["pixel_mean"])
with torch.inference_mode():
    print(torch.sigmoid(network.eval()((x / card["pixel_std"]).expand(1, 3, size, size))))
"""


def seconds(call: list[str]) -> float:
    """The wall clock of one run of a command."""
    started = time.perf_counter()
    subprocess.run(call, capture_output=True, check=True)
    return time.perf_counter() - started


def compare(name: str, ours: list[str], other: str, theirs: list[str]) -> None:
    """Print medians over pairs, and the median ratio."""
    seconds(ours), seconds(theirs)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(PAIRS)]
    mine, yours = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{name:<20} {mine:6.2f} s   {other:<20} {yours:6.2f} s   ratio {ratio:.2f}")


def main(workspace: str, image: str) -> None:
    """Print both comparisons."""
    cxrtool = str(Path(sys.executable).with_name("cxrtool"))
    compare("cxrtool --help", [cxrtool, "--help"], "python -c pass", [sys.executable, "-c", ""])
    predict = [cxrtool, "predict", image, "-w", workspace, "--device", "cpu"]
    bare = [sys.executable, "-c", BARE, workspace, image]
    for engine in ("torch", "openvino", "onnxruntime"):
        if find_spec(engine):
            compare(f"predict, {engine}", [*predict, "--engine", engine], "bare torch script", bare)


if __name__ == "__main__":
    main(*sys.argv[1:])
