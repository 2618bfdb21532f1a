"""The processes that train one network together: who they are, and what they tell each other.

Not by fastai's `distrib_ctx`: it needs the package accelerate, and when one process fails or is
asked to stop, the others wait for it.
"""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cxrtool.core.errors import CxrToolError, RunError, StoppedError, UsageError
from cxrtool.core.signals import signals_handled

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun and accelerate set for each process that they start."""
_TALK_SECONDS = 5.0
"""How long an error waits at most for the store that says whether it was shown already."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together; by itself, the only one.

    Every method is a meeting: all processes must come to it, in the same order.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    """Its number on its own machine, which is the number of its GPU."""

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def program(self) -> str:
        """What starts as many processes again; a command's name and options follow."""
        if self.world == 1:
            return "cxrtool"
        here = os.environ.get("LOCAL_WORLD_SIZE")
        number = f"--nproc-per-node {here}" if here == str(self.world) else "..."
        return f"torchrun {number} -m cxrtool"

    def any(self, flags: list[bool]) -> list[bool]:
        """For each flag, whether it is set in any process."""
        if self.world == 1:
            return flags
        common = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(common, dist.ReduceOp.MAX)
        return [bool(flag) for flag in common]

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes; its gradient stays this process's own."""
        return value if self.world == 1 else self.sum(value) / self.world

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.world == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def gather(self, value: Tensor) -> list[Tensor]:
        """Every process's tensor, all of one shape, in the order of the ranks."""
        if self.world == 1:
            return [value]
        found = [torch.empty_like(value) for _ in range(self.world)]
        dist.all_gather(found, value.contiguous())
        return found

    def gather_rows(self, rows: Tensor, total: int) -> Tensor:
        """All `total` rows, of which each process holds every world-th, beginning at its rank.

        They meet on the CPU: a process without a row knows of no device.
        """
        rows = rows.cpu()
        if self.world == 1:
            return rows
        most = -(-total // self.world)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        return torch.stack(self.gather(padded), dim=1).flatten(0, 1)[:total]

    def text(self, text: str) -> str:
        """The first process's text."""
        if self.world == 1:
            return text
        sent = [text]
        dist.broadcast_object_list(sent, src=0)
        return sent[0]

    def differing(self, facts: dict[str, Any]) -> list[str]:
        """The names of those facts that are not the same in all processes."""
        if self.world == 1:
            return []
        every: list[dict[str, Any]] = [{} for _ in range(self.world)]
        dist.all_gather_object(every, facts)
        return [name for name in every[0] if any(one[name] != every[0][name] for one in every)]

    def wait(self) -> None:
        """Wait for all."""
        self.any([True])  # a barrier of NCCL's would warn of a device that it does not know


ALONE = Processes()


def launched() -> Processes:
    """This process's place, as torchrun or accelerate gives it.

    Raises:
        UsageError: several processes were announced, but not how they reach each other.
    """
    world = _number("WORLD_SIZE", least=1) if os.environ.get("WORLD_SIZE") else 1
    if world == 1:
        return ALONE
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"WORLD_SIZE={world} is set, but not {', '.join(missing)}: start with "
            "`torchrun --nproc-per-node N -m cxrtool train ...`, or unset WORLD_SIZE"
        )
    rank, local = (_number(name, least=0) for name in ("RANK", "LOCAL_RANK"))
    if rank >= world:
        raise UsageError(f"RANK={rank} is not below WORLD_SIZE={world}: ranks count from 0")
    return Processes(rank, world, local)


def _number(name: str, *, least: int) -> int:
    text = os.environ[name]
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{name}={text} in the environment is not a number of processes: unset it")
    return int(text)


def lost_others(error: RuntimeError, processes: Processes) -> bool:
    """Whether an error says that another process cannot be reached any more."""
    text = str(error).lower()
    signs = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe")
    distributed = isinstance(error, dist.DistError) or any(sign in text for sign in signs)
    return processes.world > 1 and distributed


@contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[None]:
    """Meet the other processes, and part from them at the end.

    Raises:
        RunError: another process did not come, or ended before its time.
    """
    if processes.world == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        # Signals end the process at once while it waits where Python cannot listen to them.
        with signals_handled(signal.SIG_DFL):
            # Tensors on the CPU (decisions, states of generators) go by gloo, gradients by NCCL.
            kinds = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(kinds)
    except RuntimeError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"the {processes.world} processes did not meet at {where}: {reason}"
        ) from None
    try:
        yield
    except RuntimeError as error:
        if lost_others(error, processes):
            raise RunError(
                f"one of the {processes.world} processes ended before its time; if it left a "
                "message, that says why"
            ) from None
        raise
    finally:
        dist.destroy_process_group()


@contextmanager
def one_voice(processes: Processes) -> Iterator[None]:
    """Have an error that several processes meet alike shown once, by the first that meets it.

    The others raise it without its text. torchrun is given the text for its own report, and may
    not end a process any more that has something to say.

    Raises:
        CxrToolError: what was raised in the block.
    """
    try:
        yield
    except BaseException as error:
        if processes.world == 1:
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not isinstance(error, CxrToolError) or isinstance(error, StoppedError):
            raise
        _tell_launcher(str(error))
        if _shown_before(str(error)):
            raise type(error)("") from None
        raise


def _tell_launcher(text: str) -> None:
    """Leave a message where torchrun looks for one when a process of its fails."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        extra = {"py_callstack": text, "timestamp": str(int(time.time()))}
        with suppress(OSError):
            message = {"message": {"message": text, "extraInfo": extra}}
            Path(path).write_text(json.dumps(message), encoding="utf-8")


def _shown_before(text: str) -> bool:
    """Whether another process showed this; False also where that cannot be known."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False  # the store would be the first process's, which may be gone
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    key = hashlib.sha256(f"{start} {text}".encode()).hexdigest()
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, is_master=False, timeout=timedelta(seconds=_TALK_SECONDS)
        )
        return bool(store.add(f"cxrtool/{key}", 1) > 1)
    except RuntimeError:
        return False
