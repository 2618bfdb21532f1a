"""A network to begin from, and small ones in place of whole ones."""

import pytest
import torch
from torchvision import models

from tests.support.smaller import get_smaller


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return models.resnet18(weights=None)


@pytest.fixture
def smaller(monkeypatch):
    """Small networks: every kind of layer is there, and each stage halves the image as it does."""
    monkeypatch.setattr(models, "get_model", get_smaller)
