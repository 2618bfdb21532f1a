"""All engines give fp32 torch's probabilities, in whatever batches and threads."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import spearmanr

from cxrtool.core.hardware import native_bf16
from cxrtool.data.logits import probabilities_of
from tests.support.engines import ENGINES, load, skip_without_extras

skip_without_extras()

NATIVE = native_bf16()


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_gives_fp32_torchs_probabilities(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    assert (loaded.name, loaded.device, loaded.precision) == (engine, "cpu", "fp32")
    found = probabilities_of(loaded.submit(pixels)())
    assert expected.std(axis=0).min() > 1e-3  # otherwise anything would do
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.skipif(not NATIVE, reason="this processor has no bf16")
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bf16_changes_little_and_hardly_the_ranks(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine, "bf16")
    assert loaded.precision == "bf16"
    found = probabilities_of(loaded.submit(pixels)())
    assert 0 < np.abs(found - expected).max() < 0.02
    for label in range(expected.shape[1]):
        assert spearmanr(found[:, label], expected[:, label])[0] > 0.98
        # The last layer is not rounded: otherwise many images would share a score.
        assert len(np.unique(found[:, label])) > 0.95 * len(np.unique(expected[:, label]))


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_of_any_size_are_in_flight_at_once(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    rng = np.random.default_rng(3)
    for _ in range(4):
        starts = rng.integers(0, len(pixels) - 17, 5)  # more than `depth`
        sizes = rng.integers(1, 17, 5)
        parts = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        pending = [loaded.submit(pixels[part]) for part in parts]
        results = [fetch() for fetch in pending]
        loaded.submit(pixels[:16])()  # what was fetched stays as it is
        for part, found in zip(parts, results, strict=True):
            assert np.abs(probabilities_of(found) - expected[part]).max() < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_as_pillow_gives_them_are_taken_in_silence(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    locked = pixels[:3].copy()
    locked.flags.writeable = False
    turned = pixels[:3].transpose(0, 2, 1).copy().transpose(0, 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images in (locked, turned):
            assert np.abs(probabilities_of(loaded.submit(images)()) - expected[:3]).max() < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_ten_threads_get_ten_right_answers(kept_once, pixels, expected, engine):
    loaded = load(kept_once, engine)
    begin = threading.Barrier(10)

    def worst(thread):
        begin.wait()
        errors = []
        for turn in range(6):
            part = slice(thread * 4 + turn, thread * 4 + turn + 1 + (thread + turn) % 4)
            found = probabilities_of(loaded.submit(pixels[part])())
            errors.append(np.abs(found - expected[part]).max())
        return max(errors)

    with ThreadPoolExecutor(10) as threads:
        assert max(threads.map(worst, range(10))) < 1e-4
