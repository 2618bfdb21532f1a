"""Kill trainings with SIGKILL at random moments, resume them, and compare with one left alone.

    python tests/benchmarks/bench_resume.py [--kills 20] [--seed 0]

Draws a small data set, trains a DenseNet-121 on it with all that has a state of its own (dropout,
weighted sampling, smoothed labels, frozen epochs, two validations an epoch, an average of the
weights), saving every few batches. Each of the other trainings is killed once at a random moment
of that time and resumed once. A run counts as equal if weights and thresholds are so byte for byte
and the history is so in every column that is not a time.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

TRAINING = [
    *("train", "--arch", "densenet121", "--drop-rate", "0.2", "--weights", "none"),
    *("--freeze-epochs", "1", "--unfreeze", "all", "--uncertainty", "smooth", "--ema", "0.99"),
    *("--epochs", "4", "--validations", "2", "--image-size", "64", "--batch-size", "8"),
    *("--lr", "3e-4", "--device", "cpu", "--workers", "0", "--checkpoint-every", "0.02"),
]


TIMES = ["train_seconds", "seconds", "images_per_second"]


def cxrtool(*words, check=True):
    command = [sys.executable, "-m", "cxrtool", *words, "-q"]
    return subprocess.run(command, check=check, capture_output=True, text=True)


def same(run, other):
    """What differs between two runs, in words; nothing if they are equal."""
    for name in ("model.safetensors", "thresholds.json", "predictions/valid.csv", "labels.json"):
        if (run / name).read_bytes() != (other / name).read_bytes():
            return f"{name} differs"
    one, two = (pd.read_csv(path / "history.csv").drop(columns=TIMES) for path in (run, other))
    return "" if one.equals(two) else "history.csv differs"


def kill_once(runs, name, wait):
    """Start a training, kill it after `wait` seconds from its first checkpoint on."""
    command = [sys.executable, "-m", "cxrtool", *TRAINING, "--name", name, "-q", "-w", runs.parent]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (runs / name / "checkpoint" / "last.safetensors").exists():
        time.sleep(0.002)
    time.sleep(wait)
    process.kill()
    process.wait()


def moment(run):
    """What the training was at when it was killed."""
    if (run / "model.json").exists():
        return "after its end"
    if list((run / "checkpoint").glob(".*.safetensors")):
        return "while saving"
    if (run / "model.safetensors").exists():
        return "while finishing"
    return "between"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        data, workspace = Path(folder) / "data", Path(folder) / "cxr"
        runs = workspace / "runs"
        cxrtool("demo", "--only-data", str(data), "--patients", "60")
        cxrtool("prepare", str(data), "--cache-size", "64", "-w", str(workspace))
        cxrtool("split", "--sizes", "60,20,20", "-w", str(workspace))
        cxrtool(*TRAINING, "--name", "alone", "-w", str(workspace))
        history = pd.read_csv(runs / "alone" / "history.csv")
        length = float(history["seconds"].sum())
        print(f"left alone: {len(history)} validations in {length:.1f} s")
        equal = 0
        for number in range(asked.kills):
            name, wait = f"killed-{number}", draw.uniform(0, length * 1.05)
            kill_once(runs, name, wait)
            when = moment(runs / name)
            resumed = cxrtool("train", "--resume", name, "-w", str(workspace), check=False)
            finished = when == "after its end"
            differs = (
                same(runs / name, runs / "alone")
                if not resumed.returncode or finished
                else (resumed.stderr.strip())
            )
            equal += not differs
            print(f"killed after {wait:5.1f} s, {when}: {differs or 'equal'}", flush=True)
    print(f"{equal} of {asked.kills} equal the training that was left alone")
    sys.exit(equal < asked.kills)


if __name__ == "__main__":
    main()
