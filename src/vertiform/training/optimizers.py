"""Optimisers: what conf/optimizer/ can name."""

from dataclasses import dataclass

import torch
from torch import nn

from vertiform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), fused.

    lr:                 the schedule's highest learning rate.
    weight_decay:       of matrices only; biases, norms and other vectors are left alone.
    gradient_clip_norm: a longer gradient (2-norm over all parameters) is scaled down to this.
    """

    lr: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    gradient_clip_norm: float

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.gradient_clip_norm <= 0:
            raise ConfigError(
                "optimizer.lr and optimizer.gradient_clip_norm must be above 0.",
                fix="5e-4 and 1.0 are usual for a small encoder.",
            )

    def build(self, network: nn.Module) -> torch.optim.AdamW:
        """Return the optimiser of the parameters of `network` that are trained."""
        trained = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            fused=True,
        )
