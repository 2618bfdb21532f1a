"""A network to begin from."""

import pytest
import torch
from torchvision import models


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return models.resnet18(weights=None)
