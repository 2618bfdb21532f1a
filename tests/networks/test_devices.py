import torch

from cxrtool.networks.devices import compute_threads


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
