"""Torch scores several batches at once where there are many images."""

import threading

import numpy as np
import pytest
import torch

from cxrtool.data.logits import probabilities_of
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.engines.torch_engine import TorchEngine, load_torch
from cxrtool.networks.architectures import score_batch
from cxrtool.networks.trained import load_network
from tests.support.engines import load, skip_without_extras

skip_without_extras()


def test_torch_scores_as_a_plain_call_of_the_network_does(kept_once, pixels):
    run, card = kept_once
    for precision in ("fp32", "bf16"):
        engine = load_torch(run, card, Compute(device="cpu", precision=precision))
        plain = score_batch(
            load_network(run, card, "cpu"),
            pixels,
            mean=card.pixel_mean,
            std=card.pixel_std,
            device=torch.device("cpu"),
            precision=precision,
        )
        assert np.abs(probabilities_of(engine.submit(pixels)()) - plain).max() < 1e-6


@pytest.fixture
def four_cores():
    """As if this machine had four, whatever the tests are told to use."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_of_many_images_torch_scores_several_batches_at_once(
    kept_once, pixels, expected, four_cores, monkeypatch
):
    engine = load(kept_once, "torch", images=len(pixels))
    assert torch.get_num_threads() == 4
    meeting, cores = threading.Barrier(4), []
    score = engine._score

    def meet(images):
        cores.append(torch.get_num_threads())
        meeting.wait(timeout=60)  # all four are here, or none goes on
        return score(images)

    monkeypatch.setattr(engine, "_score", meet)
    parts = [slice(at, at + 4) for at in range(0, 32, 4)]
    pending = [engine.submit(pixels[part]) for part in parts]
    for part, fetch in zip(parts, pending, strict=True):
        assert np.abs(probabilities_of(fetch()) - expected[part]).max() < 1e-4
    assert cores == [1] * 8
    assert engine.depth == 5


@pytest.mark.parametrize("images", [None, 1, 8])
def test_of_few_images_all_cores_score_a_batch(kept_once, pixels, four_cores, monkeypatch, images):
    engine = load(kept_once, "torch", images=images)
    cores, score = [], engine._score
    monkeypatch.setattr(
        engine, "_score", lambda x: (cores.append(torch.get_num_threads()), score(x))[1]
    )
    engine.submit(pixels[:4])()
    assert (cores, engine.depth) == ([4], 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_scores_batches_in_flight(kept_once, pixels, expected):
    run, card = kept_once
    device = torch.device("cuda")
    engine = TorchEngine(
        load_network(run, card, device),
        mean=card.pixel_mean,
        std=card.pixel_std,
        device=device,
        precision="fp32",
    )
    pending = [engine.submit(pixels[at : at + 16].copy()) for at in range(0, len(pixels), 16)]
    found = probabilities_of(np.concatenate([fetch() for fetch in pending]))
    assert np.abs(found - expected).max() < 1e-3
