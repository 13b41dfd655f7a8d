"""Optimisers: what conf/optimizer/ can name."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from vertiform.errors import ConfigError
from vertiform.training import muon

SMALLEST_MATRIX = 16  # rows or columns; a layer with fewer outputs has little to make orthogonal


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
        return self.build_for(network.parameters())

    def build_for(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        """Return the optimiser of those of `parameters` that are trained."""
        trained = [p for p in parameters if p.requires_grad]
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


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon for matrices that are multiplied by, AdamW for everything else (Jordan et al. 2024).

    lr:                 the schedule's highest rate of AdamW: embeddings, the head tied to them,
                        biases and norms.
    matrix_lr:          the same of Muon, whose updates have a size of their own: 0.02 fits most.
    momentum:           of Muon.
    weight_decay:       of matrices, by both; vectors are left alone.
    gradient_clip_norm: as AdamW's.
    """

    lr: float
    matrix_lr: float
    momentum: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    gradient_clip_norm: float

    def __post_init__(self) -> None:
        if min(self.lr, self.matrix_lr, self.gradient_clip_norm) <= 0 or not 0 <= self.momentum < 1:
            raise ConfigError(
                "optimizer.lr, optimizer.matrix_lr and optimizer.gradient_clip_norm must be above "
                "0, and optimizer.momentum from 0 to below 1.",
                fix="3e-3, 0.02, 1.0 and 0.95 are usual for a small encoder.",
            )

    def build(self, network: nn.Module) -> muon.Together:
        """Return the optimiser of the parameters of `network` that are trained."""
        looked_up = {
            id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
        }  # tied heads too
        inside = {
            p
            for p in network.parameters()
            if p.requires_grad
            and p.ndim == 2
            and min(p.shape) >= SMALLEST_MATRIX
            and id(p) not in looked_up
        }
        if not inside:
            raise ConfigError(
                f"{type(network).__name__} has no matrices for Muon to train.",
                fix="choose optimizer=adamw.",
            )
        others = [p for p in network.parameters() if p not in inside]
        matrices = [p for p in network.parameters() if p in inside]  # in the network's order
        rest = AdamW(
            lr=self.lr,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            gradient_clip_norm=self.gradient_clip_norm,
        )
        of_matrices = muon.Muon(
            matrices, lr=self.matrix_lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        return muon.Together([of_matrices, rest.build_for(others)])
