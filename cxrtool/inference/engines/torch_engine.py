"""Scoring with torch: on any device, and in any number format."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.base import Compute, Logits, Pending, Pixels
from cxrtool.networks.architectures import normalise
from cxrtool.networks.devices import autocast, choose_device, choose_precision
from cxrtool.networks.trained import load_network

BATCHES = {"cpu": 8, "cuda": 64, "mps": 32}
STREAMS = 4
"""At most so many batches are scored at once on a CPU, each by its share of the cores."""


class Scoring(nn.Module):
    """A network with what comes before it: grey bytes in, logits out."""

    def __init__(self, network: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, labels), float32, of grey images (n, image_size, image_size), uint8."""
        pixels = normalise(images.unsqueeze(1).float() / 255, self.mean, self.std)
        logits: Tensor = self.network(pixels)
        return logits.float()


class TorchEngine:
    """A network on one device.

    On a CPU, cores that share one batch wait for each other after each layer. Where there are
    many images, several batches are scored at once instead, each by fewer cores; otherwise one
    after the other, by all cores. On a GPU a batch is only begun, and the copies to it and from it
    run beside others.
    """

    name = "torch"

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: float,
        std: float,
        device: torch.device,
        precision: str,
        images: int | None = None,
    ) -> None:
        """`network` is on `device`, in eval mode and channels last; `images`, if that is known."""
        self.device = str(device)
        self.precision = precision
        self.batch = BATCHES[device.type]
        self._scoring = Scoring(network, mean, std).eval()
        self._torch_device = device
        self._one_at_a_time = threading.Lock()
        self._streams: ThreadPoolExecutor | None = None
        self.depth = 2 if device.type == "cuda" else 1
        streams = _streams() if device.type == "cpu" and (images or 0) > self.batch else 1
        if streams > 1:
            self._streams = _executor(streams)
            self.depth = streams + 1  # while one is fetched, the next is there

    def submit(self, pixels: Pixels) -> Pending:
        """Begin to score grey images (n, image_size, image_size)."""
        # Torch warns of arrays that may not be written to, as Pillow gives them.
        images = torch.as_tensor(pixels if pixels.flags.writeable else pixels.copy())
        if self._torch_device.type == "cuda":
            return self._submit_to_gpu(images)
        if self._streams is not None:
            return self._streams.submit(self._fetched, images).result
        with self._one_at_a_time:
            scores = self._fetched(images)
        return lambda: scores

    def _fetched(self, images: Tensor) -> Logits:
        logits: Logits = self._score(images.to(self._torch_device)).cpu().numpy()
        return logits

    def _score(self, images: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(self._torch_device, self.precision):
            logits: Tensor = self._scoring(images)
        return logits

    def _submit_to_gpu(self, images: Tensor) -> Pending:
        # Only from pinned memory, and into it, does a copy not wait for what runs.
        scores = self._score(images.pin_memory().to(self._torch_device, non_blocking=True))
        fetched = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
        fetched.copy_(scores, non_blocking=True)
        done = torch.cuda.current_stream(self._torch_device).record_event()

        def fetch() -> Logits:
            done.synchronize()
            return fetched.numpy()

        return fetch


def _streams() -> int:
    """How many batches at once; all get the same number of cores."""
    cores = torch.get_num_threads()
    return max(number for number in range(1, STREAMS + 1) if cores % number == 0)


def _executor(streams: int) -> ThreadPoolExecutor:
    """Threads for so many batches at once, that share the cores among them."""
    cores = torch.get_num_threads()
    ready = threading.Barrier(streams + 1)

    def begin() -> None:
        torch.set_num_threads(cores // streams)
        torch.get_num_threads()  # until a thread has asked, it takes what was set last by any
        ready.wait()

    executor = ThreadPoolExecutor(streams, "scoring", initializer=begin)
    for _ in range(streams):
        executor.submit(int)
    ready.wait()
    # Each thread has a number of its own, but that of the threads to come is everybody's.
    torch.set_num_threads(cores)
    return executor


def load_torch(run: RunFolder, card: RunCard, compute: Compute) -> TorchEngine:
    """A run's network on the device that is named, or the best there is.

    Raises:
        RunError: its weights do not fit.
        UsageError: this machine has no such device.
    """
    chosen = choose_device(compute.device)
    return TorchEngine(
        load_network(run, card, chosen),
        mean=card.pixel_mean,
        std=card.pixel_std,
        device=chosen,
        precision=choose_precision(compute.precision, chosen),
        images=compute.images,
    )
