"""What stops a training names what to try."""

from dataclasses import replace

import pytest
import torch

from cxrtool.core.errors import RunError
from cxrtool.training.learner import CXRLearner
from cxrtool.workflows.train import train_model
from tests.support.training_options import ONCE


@pytest.mark.parametrize(("size", "told"), [(8, "try --batch-size 4 "), (2, "--image-size")])
def test_too_little_memory_names_what_to_try(prepared, monkeypatch, size, told):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(CXRLearner, "_backward", full)
    with pytest.raises(RunError, match=f"out of memory at --batch-size {size} .*{told}"):
        train_model(replace(ONCE, batch_size=size), prepared, seed=1)
    assert list(prepared.runs.iterdir()) == []
