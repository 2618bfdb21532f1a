"""The choices that `train`'s options leave to us, and what is refused before anything is read."""

import os
from collections.abc import Collection
from dataclasses import replace
from typing import TypedDict

import torch

from cxrtool.core.config import (
    NO_PROBE,
    PROBE_ONLY,
    USUAL_FROZEN,
    TrainConfig,
    worker_count,
)
from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError, counted
from cxrtool.core.hardware import cores_in_use, free_threads, physical_memory
from cxrtool.core.processes import ALONE, Processes
from cxrtool.networks.architectures import build_network, refuse_image_size
from cxrtool.networks.devices import choose_device, choose_precision
from cxrtool.training.block import WEIGHTED

ONE_CYCLE = "one-cycle"


def refuse_frozen(config: TrainConfig, typed: Collection[str]) -> None:
    """Refuse more frozen epochs than epochs.

    A short training may have fewer than the usual number; a run's config.yaml has that number too.

    Args:
        config: of a training that begins.
        typed: the options that were typed, and did not come from a file.

    Raises:
        UsageError: there are more, and somebody asked for them.
    """
    frozen = config.freeze_epochs or 0
    asked = "freeze_epochs" in typed or frozen > USUAL_FROZEN
    if config.resume is None and frozen > config.epochs and asked:
        raise UsageError(
            f"--freeze-epochs {frozen} is more than --epochs {config.epochs}: give more epochs, or "
            f"--freeze-epochs {config.epochs} to train the last layer alone"
        )


def resolve(config: TrainConfig, processes: Processes = ALONE) -> tuple[TrainConfig, torch.device]:
    """Make every choice that an option leaves to us, and refuse what cannot be.

    Raises:
        UsageError: an unknown architecture or device, or options that contradict each other.
    """
    device = choose_device(config.device, processes.local_rank if processes.world > 1 else None)
    config = replace(config.resolved(), precision=choose_precision(config.precision, device))
    with torch.device("meta"):  # nothing is computed: is there such a network?
        network = build_network(config.arch, 1, **network_options(config))
        refuse_image_size(network, config.image_size)
    if config.schedule == ONE_CYCLE and config.warmup:
        raise UsageError(
            f"--warmup {config.warmup:g} with --schedule {ONE_CYCLE}, which has a warm-up "
            "of its own: pass --warmup 0, or choose another schedule"
        )
    if config.sampling_cap is not None and config.sampling != WEIGHTED:
        raise UsageError(
            f"--sampling-cap {config.sampling_cap:g} limits what --sampling weighted draws, and "
            f"--sampling {config.sampling} draws each image once: leave one of them out"
        )
    refuse_with_probe(config, processes.world)
    if config.loss != "bce" and config.pos_weight != "none":
        raise UsageError(f"--pos-weight belongs to --loss bce: {config.loss} has its own weighting")
    return config, device


def refuse_with_probe(config: TrainConfig, world: int = 1) -> None:
    """Refuse options that fitting the last layer to features has no use for.

    Raises:
        UsageError: it names one.
    """
    if config.probe == NO_PROBE:
        given = {"--views": config.views, "--features": config.features, "--l2": config.l2}
        for option, value in given.items():
            if value:
                raise UsageError(
                    f"{option} belongs to --probe: pass --probe only, or --probe first"
                )
        return
    if world > 1:
        raise UsageError("--probe works in one process: start it without torchrun")
    if config.loss != "bce" and config.probe == PROBE_ONLY:
        raise UsageError(f"--probe only minimises cross-entropy: leave --loss {config.loss} out")
    if config.probe == PROBE_ONLY and (config.dry_run or config.lr_find):
        option = "--dry-run" if config.dry_run else "--lr-find"
        raise UsageError(
            f"{option} with --probe only: there are no steps to try; `cxrtool features` says how "
            "long the network takes, and the fit takes seconds"
        )


class NetworkOptions(TypedDict):
    """What `build_network` takes beside an architecture and a number of labels."""

    image_size: int
    drop_rate: float
    drop_path: float | None


def network_options(config: TrainConfig) -> NetworkOptions:
    """What a training asks of its network beside its architecture."""
    return NetworkOptions(
        image_size=config.image_size, drop_rate=config.drop_rate, drop_path=config.drop_path
    )


def refuse_huge(config: TrainConfig, world: int, memory: int | None = None) -> None:
    """Refuse a batch whose pixels alone are more than this machine's memory.

    Args:
        config: with every choice made.
        world: processes that share a batch.
        memory: bytes; None: this machine's.

    Raises:
        UsageError: nothing could hold it, and a machine that tries is busy for minutes.
    """
    memory = physical_memory() if memory is None else memory
    # As the loader has a pixel (a float), and as the network takes it (three of them).
    needed = config.batch_size // world * config.image_size**2 * 4 * (1 + 3)
    if memory and needed > memory:
        raise UsageError(
            f"--batch-size {config.batch_size} with --image-size {config.image_size}: the images "
            f"of a batch alone need {needed / 2**30:,.0f} GiB, and this machine has "
            f"{memory / 2**30:,.0f} GiB: reduce one of the two"
        )


def use_free_cores(
    config: TrainConfig,
    device: torch.device,
    processes: Processes = ALONE,
    *,
    begun: int | None = None,
    reporter: Reporter,
) -> TrainConfig:
    """As many threads as there are cores that nothing else uses, unless somebody said how many.

    Threads that share a core with another program hold up all others at every layer: beside one
    busy process, one thread of two trains twice as fast as two (tests/benchmarks/bench_busy.py).
    A run that is resumed goes on with the number that it was begun with, since another one rounds
    in another order.

    Args:
        config: of a training that is about to begin.
        device: that computes.
        processes: that train together; several share the cores already.
        begun: the threads of the run that is resumed.
        reporter: told where there are fewer threads than usual.
    """
    asked = config.threads is not None or os.environ.get("OMP_NUM_THREADS")
    if asked or device.type != "cpu" or processes.world > 1:
        return config
    usual, cores = torch.get_num_threads(), worker_count(None, most=None)
    if begun is not None:
        return replace(config, threads=min(begun, usual))
    used = cores_in_use()
    number = free_threads(used, cores=cores, usual=usual)
    if number == usual:
        return config
    reporter.note(
        f"other processes use {used:.1f} of {cores} cores: computing with "
        f"{counted(number, 'thread')}, which is faster here (--threads {usual} uses all)"
    )
    return replace(config, threads=number)
