import pytest
import torch

from cxrtool.core.errors import UsageError
from cxrtool.networks.devices import choose_device, choose_precision, compute_threads


def test_what_ran_out_of_memory_is_told_from_other_faults():
    import torch

    from cxrtool.networks.devices import memory_ran_out

    worker = "Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback ..."
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError(worker),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
    ):
        assert memory_ran_out(error)
    assert not memory_ran_out(RuntimeError("shapes do not fit"))
    assert not memory_ran_out(ValueError("MemoryError"))


def test_threads_are_as_many_as_asked_for_and_afterwards_as_before():
    before = torch.get_num_threads()
    with compute_threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with compute_threads(None):
        assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["gpu", "cuda:999", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match=rf"^--device {name}: "):
        choose_device(name)


def test_a_format_that_is_named_is_taken_and_auto_is_the_processors(monkeypatch):
    for native, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("cxrtool.networks.devices.native_bf16", lambda n=native: n)
        assert choose_precision("auto", torch.device("cpu")) == chosen
        assert choose_precision("fp16", torch.device("cpu")) == "fp16"
