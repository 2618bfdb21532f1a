"""The demo's time and scores over three seeds, beside the linear model on thumbnails.

python tests/benchmarks/bench_demo.py [SEED ...]

Each seed is a process of its own, `cxrtool demo --seed SEED`, in an empty folder. Printed: seconds
in all, mean AUROC on test over the labels with ten or more test positives, how many those are, and
the mean AUROC of logistic regressions on 16x16 thumbnails over all defined labels.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENOUGH = 10


def run(seed: int, folder: Path) -> list[str]:
    """One seed's row."""
    started = time.perf_counter()
    call = [sys.executable, "-m", "cxrtool", "demo", "--seed", str(seed), "--json"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    told = json.loads(done.stdout)
    labels = told["evaluate"]["labels"].values()
    counted = [f["auroc"] for f in labels if f["positives"] >= ENOUGH and f["auroc"] is not None]
    mean = sum(counted) / len(counted)
    return [
        f"{seed}",
        f"{seconds:.0f}",
        f"{mean:.3f}",
        f"{len(counted)}",
        f"{told['evaluate']['mean_auroc']:.3f}",
        f"{told['linear_mean_auroc']:.3f}",
    ]


def main(*seeds: str) -> None:
    """Print the table."""
    headings = ("seed", "seconds", "AUROC", f"labels of >={ENOUGH}", "all labels", "linear")
    print("  ".join(f"{heading:>12}" for heading in headings))
    for seed in seeds or ("1", "2", "3"):
        with tempfile.TemporaryDirectory() as folder:
            print("  ".join(f"{cell:>12}" for cell in run(int(seed), Path(folder))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
