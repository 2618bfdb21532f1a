"""The last layer, the same for every network."""

import torch
from torch import Tensor, nn


class Head(nn.Linear):
    """One logit per label, in fp32: with bf16's 8 bits many images would share a logit."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, labels), float32, of features (n, width) of any float type."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())
