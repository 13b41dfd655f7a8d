"""LightningModules. They only delegate."""

import math
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from vertiform.batches.vocabulary import Vocabulary
from vertiform.evaluation import names
from vertiform.training.optimizers import AdamW
from vertiform.training.schedules import Schedule


class Objective(Protocol):
    """What a language model is trained to do; one file each in objectives/."""

    def loss(self, network: Any, batch: Any) -> Tensor:
        """Return the mean nats per predicted token of a batch, a scalar."""
        ...

    def num_predicted(self, batch: Any) -> int:
        """How many tokens `loss` is the mean over."""
        ...

    def preparer(self, vocabulary: Vocabulary) -> Any:
        """Return what turns windows of tokens into batches (batches.windows.Prepare)."""
        ...


class LanguageModule(LightningModule):
    """Trains any network from token ids to logits under one objective."""

    def __init__(
        self,
        *,
        network: nn.Module,
        objective: Objective,
        optimizer: AdamW,
        schedule: Schedule,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.network = network
        self._objective = objective
        self._optimizer = optimizer
        self._schedule = schedule
        self._total_steps = total_steps

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Return the loss to descend."""
        loss = self._objective.loss(self.network, batch)
        self.log(names.TRAIN_NATS_PER_TOKEN, loss, batch_size=1)
        return loss

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Add a batch to the mean over all predicted tokens of the validation split."""
        loss = self._objective.loss(self.network, batch)
        self.log(names.VAL_NATS_PER_TOKEN, loss, batch_size=self._objective.num_predicted(batch))

    def on_validation_epoch_end(self) -> None:
        """Add the same mean as a perplexity."""
        nats_per_token = float(self.trainer.callback_metrics[names.VAL_NATS_PER_TOKEN])
        self.log(names.VAL_PERPLEXITY, perplexity(nats_per_token))

    def configure_optimizers(self) -> Any:
        """Build the optimiser, and the schedule around it, for Lightning."""
        return scheduled(self._optimizer, self._schedule, self.network, self._total_steps)


class BuildsOptimizer(Protocol):
    """Settings of an optimiser: optimizers.AdamW, or several for parts of a network."""

    def build(self, network: Any) -> torch.optim.Optimizer:
        """Return the optimiser of the parameters of `network` that are trained."""
        ...


def scheduled(
    optimizer: BuildsOptimizer, schedule: Schedule, network: nn.Module, total_steps: int
) -> dict[str, Any]:
    """Return what `configure_optimizers` returns for a network, with one schedule step a step."""
    built = optimizer.build(network)
    by_step = torch.optim.lr_scheduler.LambdaLR(
        built, lambda step: schedule.factor(step, total_steps=total_steps)
    )
    return {"optimizer": built, "lr_scheduler": {"scheduler": by_step, "interval": "step"}}


def perplexity(nats_per_token: float) -> float:
    """e to the nats per token; infinity where it does not fit a float."""
    return math.exp(nats_per_token) if nats_per_token < 700 else math.inf
