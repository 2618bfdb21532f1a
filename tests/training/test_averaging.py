"""The average of the weights, against a loop over plain numbers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from cxrtool.training.averaging import WeightAverage


class Tied(nn.Module):
    """A network with everything that is special: a norm, a shared weight, integers."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.register_buffer("index", torch.arange(3))
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x):
        return self.second(self.first(self.norm(self.convolution(x)).mean((2, 3))))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Tied().to(memory_format=torch.channels_last)


def step(network, seed):
    """Change everything that a training step, or more, could change."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator))
            else:
                tensor.add_(1)


def numbers(network):
    """The state, and the buffers that it leaves out, as float64 or integers."""
    named = dict(network.state_dict()) | dict(network.named_buffers())
    return {
        name: tensor.numpy().astype(np.float64 if tensor.is_floating_point() else np.int64)
        for name, tensor in named.items()
    }


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_it_is_the_average_that_a_loop_computes(network, decay):
    average = WeightAverage(network, decay)
    expected = numbers(network)
    for t in range(20):
        step(network, t)
        average.update(network)
        kept = min(decay, (1 + t) / (10 + t))
        for name, new in numbers(network).items():
            floating = new.dtype == np.float64
            expected[name] = kept * expected[name] + (1 - kept) * new if floating else new
    found = numbers(average.network)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert average.updates == 20


def test_integers_are_copied(network):
    average = WeightAverage(network, 0.999)
    for seed in range(3):
        step(network, seed)
        average.update(network)
    assert average.network.index.tolist() == [3, 4, 5]
    assert average.network.norm.num_batches_tracked == 3


def test_a_network_without_integers_is_averaged_too():
    network = nn.Linear(2, 2)
    average = WeightAverage(network, 0.0)
    step(network, 0)
    average.update(network)
    assert torch.equal(average.network.weight, network.weight)


def test_the_start_is_soon_forgotten(network):
    average = WeightAverage(network, 0.9999)
    with torch.no_grad():
        average.network.first.weight.fill_(1000.0)
        network.first.weight.fill_(1.0)
    for _ in range(100):
        average.update(network)
    # All the factors (1 + t) / (10 + t) together, where 0.9999 ** 100 would have kept 99 %.
    assert float((average.network.first.weight - 1).max()) < 1e-6 * 1000


def test_the_copy_is_for_scoring_alone(network):
    average = WeightAverage(network, 0.9)
    assert network.training
    assert not any(module.training for module in average.network.modules())
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert network.first.weight.requires_grad
    step(network, 0)
    average.update(network)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert not average.network.training


def test_the_copy_is_apart_from_the_network(network):
    before = copy.deepcopy(network)
    average = WeightAverage(network, 0.9)
    kept = numbers(average.network)
    step(network, 0)
    for name, value in numbers(average.network).items():
        np.testing.assert_array_equal(value, kept[name])
    average.update(before)
    after = copy.deepcopy(network)
    average.update(network)
    for name, value in numbers(network).items():
        np.testing.assert_array_equal(value, numbers(after)[name])


def test_the_memory_format_and_shared_weights_are_kept(network):
    average = WeightAverage(network, 0.9)
    step(network, 0)
    average.update(network)
    assert average.network.convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert average.network.convolution.weight.stride() == network.convolution.weight.stride()
    assert average.network.second.weight is average.network.first.weight


def test_the_training_graph_is_left_alone(network):
    average = WeightAverage(network, 0.9)
    loss = network(torch.randn(2, 3, 5, 5)).sum()
    average.update(network)
    loss.backward()
    assert network.convolution.weight.grad is not None
    assert average.network.convolution.weight.grad is None


def test_resumed_it_goes_on_bit_for_bit(network):
    average = WeightAverage(network, 0.9)
    for seed in range(5):
        step(network, seed)
        average.update(network)
    # A network's checkpoint leaves out what is not persistent, so the original is asked for it.
    resumed = WeightAverage(copy.deepcopy(network), 0.9)
    resumed.network.load_state_dict(average.network.state_dict())
    resumed.network.scratch.copy_(average.network.scratch)
    resumed.updates = average.updates
    for seed in range(5, 10):
        step(network, seed)
        average.update(network)
        resumed.update(network)
    assert resumed.updates == average.updates == 10
    for name, value in numbers(average.network).items():
        np.testing.assert_array_equal(numbers(resumed.network)[name], value, err_msg=name)


def test_another_networks_weights_are_refused(network):
    with pytest.raises(RuntimeError):
        WeightAverage(network, 0.9).update(nn.Linear(2, 2))
