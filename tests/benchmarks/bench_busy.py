"""Training beside busy processes: how its threads wait for each other, and how many they are.

    python tests/benchmarks/bench_busy.py [--rounds 3] [--seconds 3]

Draws X-rays, prepares them with a cache, and starts a training process for each of:
- `spinning`: as version 0.1 left it: a thread a core, and those that wait spin for some 3 ms
  (GOMP_SPINCOUNT=300000, which is libgomp's own default, made explicit);
- `as now`: as cxrtool has it where nothing is set: a thread for each core that is free as it is
  asked to train, spinning for some 0.1 ms;
- `brief`: a thread a core, spinning for 0.1 ms;
- `sleeping`: a thread a core that does not spin (OMP_WAIT_POLICY=PASSIVE);
- `one thread`: `--threads 1`, where none waits for another.
They train in turns, one at a time, each so many seconds a round, beside 0, 1 and 2 processes that
never rest. Each round's settings are in another order. Medians of images a second over the
rounds, and the medians of each round's ratios to `spinning`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from cxrtool.core.hardware import WAITING, cores_in_use, free_threads

ALL, FREE = 0, -1
"""Of threads: one a core; one for each core that is free."""

SETTINGS = {
    "spinning": ({"GOMP_SPINCOUNT": "300000"}, ALL),
    "as now": ({}, FREE),
    "brief": ({}, ALL),
    "sleeping": ({"OMP_WAIT_POLICY": "PASSIVE"}, ALL),
    "one thread": ({}, 1),
}
"""The environment of a process, and its threads."""
CORES = len(os.sched_getaffinity(0))
STEPS_BEFORE = 3
"""Steps that are not counted."""


def train_when_asked(workspace, arch, size, batch_size, threads):
    """Train for so many seconds for each number on stdin; print images a second."""
    import torch

    from cxrtool.core.config import TrainConfig
    from cxrtool.core.console import SILENT
    from cxrtool.core.workspace import Workspace
    from cxrtool.training.choices import resolve
    from cxrtool.training.fastai_parts import Callback, CancelFitException
    from cxrtool.training.setup import set_up
    from cxrtool.workflows.train_lr_find import NoValidation

    usual = torch.get_num_threads()
    if threads > 0:
        torch.set_num_threads(threads)
    config = TrainConfig(
        arch=arch, weights="none", image_size=size, batch_size=batch_size, device="cpu"
    )
    config, device = resolve(config)
    setup = set_up(config, device, Workspace(Path(workspace)), seed=0, reporter=SILENT)

    class Clock(Callback):
        """Ends a fit after its time, and counts its images."""

        order = 60

        def __init__(self, seconds):
            super().__init__()
            self.seconds, self.times = seconds, []

        def after_batch(self):
            self.times.append(time.perf_counter())
            if len(self.times) > STEPS_BEFORE and self.times[-1] - self.times[0] > self.seconds:
                raise CancelFitException("time is up")

    for line in sys.stdin:
        if threads == FREE:
            torch.set_num_threads(free_threads(cores_in_use(), cores=CORES, usual=usual))
        clock = Clock(float(line))
        setup.learner.fit(1000, cbs=[clock, NoValidation()])
        counted = clock.times[STEPS_BEFORE - 1 :]
        print((len(counted) - 1) * batch_size / (counted[-1] - counted[0]), flush=True)


def start(setting, workspace, asked):
    """A training process that waits to be asked."""
    environment, threads = SETTINGS[setting]
    inherited = {name: value for name, value in os.environ.items() if name not in WAITING}
    child = [__file__, "--child", str(workspace), "--threads", str(threads)]
    child += [
        "--arch",
        asked.arch,
        "--size",
        str(asked.size),
        "--batch-size",
        str(asked.batch_size),
    ]
    return subprocess.Popen(
        [sys.executable, *child],
        env={**inherited, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def speed(process, seconds):
    """Images a second of one process that trains for so long."""
    print(seconds, file=process.stdin, flush=True)
    return float(process.stdout.readline())


@contextmanager
def busy(number):
    """So many processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    time.sleep(0.5 * bool(others))
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def draw(folder):
    """A workspace with drawn X-rays, a cache and a split."""
    from cxrtool.core.config import PrepareConfig, SplitConfig
    from cxrtool.core.workspace import Workspace
    from cxrtool.data.phantoms import draw_dataset
    from cxrtool.workflows.prepare import prepare_manifest
    from cxrtool.workflows.split import split_manifest

    workspace = Workspace(folder / "cxr")
    drawn = draw_dataset(folder / "data", patients=100, seed=1)
    prepare_manifest(PrepareConfig(data=drawn.folder, cache_size=128), workspace)
    split_manifest(SplitConfig(), workspace, seed=0)
    return workspace.folder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--child")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--busy", type=int, action="append")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=16)
    asked = parser.parse_args()
    if asked.child:
        train_when_asked(asked.child, asked.arch, asked.size, asked.batch_size, asked.threads)
        return
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"a load of {load:.1f} before anything began: other processes are at work here too")
    with tempfile.TemporaryDirectory() as folder:
        workspace = draw(Path(folder))
        processes = {name: start(name, workspace, asked) for name in SETTINGS}
        try:
            for process in processes.values():
                speed(process, 1)  # imports and first steps
            print(
                f"{asked.arch}, {asked.size} px, batches of {asked.batch_size}, {CORES} cores, "
                f"{asked.rounds} rounds of {asked.seconds:g} s"
            )
            for number in asked.busy or (0, 1, 2):
                measure(processes, number, asked)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


def measure(processes, number, asked):
    """Take turns beside so many busy processes, and print the medians."""
    found = {name: [] for name in processes}
    with busy(number):
        for turn in range(asked.rounds):
            names = list(processes)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                found[name].append(speed(processes[name], asked.seconds))
    first = found[next(iter(found))]
    for name, speeds in found.items():
        ratio = median(ours / theirs for ours, theirs in zip(speeds, first, strict=True))
        rounds = ", ".join(f"{value:.1f}" for value in speeds)
        print(
            f"beside {number}  {name:10}  {median(speeds):6.1f} images/s  {ratio:5.2f}  ({rounds})"
        )


if __name__ == "__main__":
    main()
