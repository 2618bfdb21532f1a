"""A search that is killed twice, and what its sampler is worth.

Draws the demo's data, searches 12 trials of a tiny network, kills the process with SIGKILL at two
random moments, resumes it, and counts what is left. Then, on a score that can be computed, the
best after 5 and 25 trials of TPE against random search: medians of 20 seeds, both beginning with
the settings held.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parents[2]))
from cxrtool.search.sampler import SteeredSampler
from tests.search.test_sampler import SPACE, new, run

TINY = (
    *("--arch", "resnet18", "--weights", "none", "--epochs", "2", "--image-size", "32"),
    *("--batch-size", "32", "--workers", "0"),
)


def cxrtool(folder, *words):
    return [sys.executable, "-m", "cxrtool", *words, "-w", str(folder / "cxr")]


def kill_twice(folder, trials, seed):
    rng = random.Random(seed)
    drawn = folder / "data"
    only = [sys.executable, "-m", "cxrtool", "demo", "--only-data", str(drawn), "--patients", "150"]
    subprocess.run([*only, "-q"], check=True, stdout=subprocess.DEVNULL)
    data = next(drawn.glob("CheXpert*"), drawn)
    for words in (("prepare", str(data), "--cache-size", "32"), ("split",)):
        subprocess.run(cxrtool(folder, *words, "-q"), check=True, stdout=subprocess.DEVNULL)
    begin = cxrtool(folder, "tune", *TINY, "--trials", str(trials), "--name", "killed", "-q")
    resume = cxrtool(folder, "tune", "--resume", "killed", "--trials", str(trials), "-q")
    for command in (begin, resume):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(10, 45))
        process.kill()
        process.wait()
        print("killed", flush=True)
    done = subprocess.run([*resume, "--json"], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)["trials"]
    states = [row["state"] for row in found]
    ended = [row for row in found if row["state"] == "finished"]
    values = {json.dumps(row["values"], sort_keys=True) for row in ended}
    again = sum(state.startswith("died, again") for state in states)
    print(
        f"{trials} trials wanted: {len(ended)} finished, {again} died and were done again, "
        f"{len(states) - len(ended) - again} otherwise; {len(values)} different combinations"
    )


def steer(seeds):
    samplers = {
        "TPE": lambda seed: SteeredSampler(SPACE, seed),
        "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    }
    for block in range(5):
        told = []
        for name, make in samplers.items():
            numbers = range(block * seeds, (block + 1) * seeds)
            best = [run(new(make(seed)), 25)[0][[4, 24]] for seed in numbers]
            after = np.median(best, axis=0)
            told.append(f"{name} {after[0]:.4f} and {after[1]:.4f}")
        print(f"seeds {block * seeds} to {(block + 1) * seeds - 1}: {', '.join(told)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("median best after 5 and after 25 trials")
    steer(args.seeds)
    with tempfile.TemporaryDirectory() as folder:
        kill_twice(Path(folder), args.trials, args.seed)


if __name__ == "__main__":
    main()
