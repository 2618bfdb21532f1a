"""How fast `predict` is, beside the bare forward pass of the same network.

python tests/benchmarks/bench_predict.py [WORKSPACE] [--images N] [--arch densenet121 resnet101]

Without a workspace, one is made of drawn X-rays, with a run of each network that is trained on a
few of them (what the weights are makes no difference to the time). Then, in turn, several times:
`predict` on N JPEGs, from the first decode to the last row of the CSV, and the bare forward pass
over batches that lie in memory, with the same engine, precision and batch size; torch in bf16 (or
what this machine has), channels last; OpenVINO, two requests at once; torch one image at a time,
fp32, as it comes. Medians of the paired ratios. Peak memory of 1,000 and 10,000 rows last.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from cxrtool.core.config import PredictConfig, PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.images.resizing import load_pixels
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from cxrtool.networks.trained import load_network
from cxrtool.workflows.predict import predict_images

SIZE = 224
BATCHES = (4, 8, 16, 32)
"""Of which the bare passes take the fastest."""
MEMORY = """
import sys
from pathlib import Path
from cxrtool.cli.app import app
try:
    app(["predict", sys.argv[1], "-w", sys.argv[2], "--run", sys.argv[3], "--output", sys.argv[4],
         "--force", "-q", "--engine", sys.argv[5]], standalone_mode=False)
finally:
    # Not getrusage: what it tells begins with the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
"""


def make_workspace(folder, archs):
    """Drawn X-rays, and a run of each network."""
    from cxrtool.workflows.prepare import prepare_manifest
    from cxrtool.workflows.split import split_manifest
    from cxrtool.workflows.train import train_model

    drawn = draw_dataset(folder / "data", patients=500, seed=1, workers=2)
    workspace = Workspace(folder / "cxr")
    prepare_manifest(PrepareConfig(data=drawn.folder, cache_size=SIZE), workspace)
    split_manifest(SplitConfig(), workspace, seed=1)
    for arch in archs:
        config = TrainConfig(
            arch=arch, weights="none", limit=32, epochs=1, image_size=SIZE, name=arch, workers=0
        )
        train_model(config, workspace, seed=1)
    return workspace


def jpegs(workspace, number):
    """That many JPEGs of the workspace's data, some more than once under other names."""
    folder = workspace.read_data_info().folder
    found = sorted(folder.rglob("*frontal.jpg"))
    target = workspace.folder.parent / f"jpegs-{number}"
    target.mkdir(exist_ok=True)
    for at in range(number):
        link = target / f"{at:05d}.jpg"
        if not link.exists():
            link.hardlink_to(found[at % len(found)])
    return target


def bare_torch(network, card, pixels, batch, precision):
    """Images per second of the forward pass in batches."""
    started = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, precision == "bf16"):
        for at in range(0, len(pixels), batch):
            x = torch.from_numpy(pixels[at : at + batch]).unsqueeze(1).float() / 255
            x = ((x - card.pixel_mean) / card.pixel_std).expand(-1, 3, -1, -1)
            torch.sigmoid(network(x.contiguous(memory_format=torch.channels_last)).float())
    return len(pixels) / (time.perf_counter() - started)


def bare_one_by_one(network, card, pixels):
    """Images per second, one at a time, fp32, channels first."""
    started = time.perf_counter()
    with torch.inference_mode():
        for one in pixels:
            x = torch.from_numpy(one)[None, None].float() / 255
            torch.sigmoid(network(((x - card.pixel_mean) / card.pixel_std).repeat(1, 3, 1, 1)))
    return len(pixels) / (time.perf_counter() - started)


def bare_openvino(graph, pixels, batch, precision):
    """Images per second of two asynchronous requests on the graph."""
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",
        "PERFORMANCE_HINT_NUM_REQUESTS": "2",
    }
    compiled = openvino.Core().compile_model(str(graph), "CPU", options)
    queue = openvino.AsyncInferQueue(compiled, 2)
    queue.start_async({0: pixels[:batch]})
    queue.wait_all()
    started = time.perf_counter()
    for at in range(0, len(pixels), batch):
        queue.start_async({0: pixels[at : at + batch]})
    queue.wait_all()
    return len(pixels) / (time.perf_counter() - started)


def ours(workspace, run, inputs, output, engine):
    """Images per second of `predict`."""
    config = PredictConfig(run=[run], output=output, engine=engine, force=True, device="cpu")
    return predict_images(config, [str(inputs)], workspace).images_per_second


def compare(workspace, arch, images, pairs):
    """Print the ratios of one network."""
    run = RunFolder(workspace.runs / arch)
    card = read_card(run)
    folder = jpegs(workspace, images)
    pixels = np.stack([load_pixels(path, SIZE) for path in sorted(folder.glob("*.jpg"))])
    few = pixels[: max(len(pixels) // 8, 16)]
    network = load_network(run, card, "cpu")
    plain = load_network(run, card, "cpu").to(memory_format=torch.contiguous_format)
    torch_engine = load_scorer(run, Compute(device="cpu", engine="torch")).engine
    precision = torch_engine.precision
    best_ov = None
    best = max(BATCHES, key=lambda size: bare_torch(network, card, few, size, precision))
    kinds = ["torch", *(["openvino"] if find_spec("openvino") else [])]
    graph = next(run.path.glob("graphs/**/*.xml"), None)
    rows = []
    for _ in range(pairs):
        row = {"bare torch": bare_torch(network, card, pixels, best, precision)}
        row["one by one"] = bare_one_by_one(plain, card, few)
        for kind in kinds:
            row[kind] = ours(workspace, arch, folder, folder.parent / "out.csv", kind)
            graph = graph or next(run.path.glob("graphs/**/*.xml"), None)
        if "openvino" in kinds:
            ov = load_scorer(run, Compute(device="cpu", engine="openvino")).engine
            best_ov = best_ov or max(
                BATCHES, key=lambda size: bare_openvino(graph, few, size, ov.precision)
            )
            row["bare openvino"] = bare_openvino(graph, pixels, best_ov, ov.precision)
        rows.append(row)
        print("  " + ", ".join(f"{name} {value:.1f}" for name, value in row.items()), flush=True)

    def told(a, b):
        return f"{statistics.median(row[a] / row[b] for row in rows):.2f}"

    print(f"{arch}, {images} JPEGs, images/s, medians of {pairs}, {precision}:")
    print(f"  the bare passes' best batch: {best} (torch), {best_ov} (OpenVINO)")
    for name in rows[0]:
        print(f"  {name:<15} {statistics.median(row[name] for row in rows):6.1f}")
    print(f"  predict with torch / bare torch: {told('torch', 'bare torch')}")
    fastest = "openvino" if "openvino" in kinds else "torch"
    if fastest == "openvino":
        print(f"  predict with OpenVINO / bare OpenVINO: {told('openvino', 'bare openvino')}")
        print(f"  predict with auto / bare torch: {told('openvino', 'bare torch')}")
    print(f"  predict with auto / one by one, fp32: {told(fastest, 'one by one')}")
    print(f"  predict with torch / one by one, fp32: {told('torch', 'one by one')}")


def memory(workspace, run, engine):
    """Print the peak memory of predict on 1,000 and 10,000 rows of a small network."""
    for number in (1_000, 10_000):
        inputs = jpegs(workspace, number)
        output = workspace.folder.parent / "memory.csv"
        words = [str(inputs), str(workspace.folder), run, str(output), engine]
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, *words], capture_output=True, text=True, check=True
        )
        print(f"peak memory, {number:,} rows, {engine}: {float(done.stdout.split()[-1]):,.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--arch", nargs="*", default=["densenet121", "resnet101"])
    parser.add_argument("--memory", action="store_true", help="the peak memory alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        archs = [*args.arch, "resnet18"]
        workspace = Workspace(args.workspace) if args.workspace else None
        if workspace is None or not workspace.manifest.is_file():
            workspace = make_workspace(
                args.workspace.parent if args.workspace else Path(made), archs
            )
        for arch in [] if args.memory else args.arch:
            compare(workspace, arch, args.images, args.pairs)
        for engine in ("torch", "auto"):
            memory(workspace, "resnet18", engine)


if __name__ == "__main__":
    main()
