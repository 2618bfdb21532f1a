"""Weights to begin from."""

from pathlib import Path

import torch

from cxrtool.networks.pretrained import load_pretrained

LABELS = ("Edema", "Nodule", "Mass")


def load(network, weights, *, arch="resnet18", labels=LABELS, runs="nowhere", **options):
    return load_pretrained(network, arch, str(weights), labels, Path(runs), **options)


def body_equal(network, state, head="fc."):
    own = network.state_dict()
    return all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith(head))


def placed(state, prefix, wrapper=None):
    """A file's content with the network's tensors under a prefix, or in a dictionary of it."""
    named = {f"{prefix}{key}": value for key, value in state.items()}
    return {wrapper: named, "epoch": 3, "optimizer": {"lr": [0.1]}} if wrapper else named
