"""Scoring with torch: on any device, and in any number format."""

import threading

import torch
from torch import Tensor, nn

from cxrtool.devices import autocast, choose_device, choose_precision
from cxrtool.engines.base import Pending, Pixels, Probabilities
from cxrtool.networks import normalise
from cxrtool.runs import RunCard, RunFolder
from cxrtool.trained import load_network

BATCHES = {"cpu": 16, "cuda": 64, "mps": 32}


class Scoring(nn.Module):
    """A network with what comes before and after it: grey bytes in, probabilities out."""

    def __init__(self, network: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities (n, labels), float32, of grey images (n, side, side), uint8."""
        pixels = normalise(images.unsqueeze(1).float() / 255, self.mean, self.std)
        logits: Tensor = self.network(pixels)
        return torch.sigmoid(logits.float())


class TorchEngine:
    """A network on one device.

    On a CPU a batch is scored when it is submitted, one thread after the other: one batch keeps
    all cores busy. On a GPU it is only begun, and the copies to it and from it run beside others.
    """

    name = "torch"

    def __init__(
        self, network: nn.Module, *, mean: float, std: float, device: torch.device, precision: str
    ) -> None:
        """`network` is on `device`, in eval mode and channels last."""
        self.device = str(device)
        self.precision = precision
        self.depth = 2 if device.type == "cuda" else 1
        self.batch = BATCHES[device.type]
        self._scoring = Scoring(network, mean, std).eval()
        self._torch_device = device
        self._one_at_a_time = threading.Lock()

    def submit(self, pixels: Pixels) -> Pending:
        """Begin to score grey images (n, side, side)."""
        # Torch warns of arrays that may not be written to, as Pillow gives them.
        images = torch.as_tensor(pixels if pixels.flags.writeable else pixels.copy())
        if self._torch_device.type == "cuda":
            return self._submit_to_gpu(images)
        with self._one_at_a_time:
            scores: Probabilities = self._score(images.to(self._torch_device)).cpu().numpy()
        return lambda: scores

    def _score(self, images: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(self._torch_device, self.precision):
            scores: Tensor = self._scoring(images)
        return scores

    def _submit_to_gpu(self, images: Tensor) -> Pending:
        # Only from pinned memory, and into it, does a copy not wait for what runs.
        scores = self._score(images.pin_memory().to(self._torch_device, non_blocking=True))
        fetched = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
        fetched.copy_(scores, non_blocking=True)
        done = torch.cuda.current_stream(self._torch_device).record_event()

        def fetch() -> Probabilities:
            done.synchronize()
            return fetched.numpy()

        return fetch


def load_torch(run: RunFolder, card: RunCard, *, device: str, precision: str) -> TorchEngine:
    """A run's network on the device that is named, or the best there is.

    Raises:
        RunError: its weights do not fit.
        UsageError: this machine has no such device.
    """
    chosen = choose_device(device)
    return TorchEngine(
        load_network(run, card, chosen),
        mean=card.pixel_mean,
        std=card.pixel_std,
        device=chosen,
        precision=choose_precision(precision, chosen),
    )
