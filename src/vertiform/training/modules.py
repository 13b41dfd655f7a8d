"""LightningModules. They only delegate."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import nn
from transformers import PreTrainedModel

from vertiform.batches.vocabulary import Vocabulary
from vertiform.evaluation import names
from vertiform.training.objectives.losses import Losses
from vertiform.training.samples import GivesSamples, Sample
from vertiform.training.schedules import Schedule


class Objective(Protocol):
    """What a language model is trained to do; one file each in objectives/."""

    reads: Literal["documents", "pairs"]  # the kind of stream its windows are cut from

    def network(self, model: Any, *, vocabulary: Vocabulary) -> nn.Module:
        """Build the network with new weights. Raises ConfigError if `model` is of another kind."""
        ...

    def loaded(self, folder: Path, *, dropout: float | None) -> nn.Module:
        """Load the network from a checkpoint folder."""
        ...

    def checkpoint_of(self, network: Any) -> PreTrainedModel:
        """Return the part of the network that is written when training ends."""
        ...

    def preparer(self, vocabulary: Vocabulary) -> Any:
        """Return what turns windows of tokens into batches (batches.windows.Prepare)."""
        ...

    def losses(self, network: Any, batch: Any) -> Losses:
        """Return the loss of a batch, and what it is made of."""
        ...

    def samples(self, network: Any, batches: Sequence[Any], vocabulary: Vocabulary) -> list[Sample]:
        """Return what the network says of batches of one window each. Draws no random numbers."""
        ...

    def step_flops(self, network: Any) -> Callable[[Any], float]:
        """Return what counts the model FLOPs (training.flops) of a batch in host memory."""
        ...


class LanguageModule(GivesSamples, LightningModule):
    """Trains any network from token ids to logits under one objective.

    validated_on: what each series of validation batches is of: "" first, the text that is trained
                  on, then the domains that are only watched.
    shown:        batches of one window each, that each validation gives samples of.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        objective: Objective,
        optimizer: "BuildsOptimizer",
        schedule: Schedule,
        total_steps: int,
        vocabulary: Vocabulary,
        validated_on: Sequence[str] = ("",),
        shown: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self._objective = objective
        self._optimizer = optimizer
        self._schedule = schedule
        self._total_steps = total_steps
        self._validated_on = validated_on
        self._shown = shown
        self._vocabulary = vocabulary

    def training_step(self, batch: Any, batch_index: int) -> dict[str, Any]:
        """Return the loss to descend, and what is logged of it (callbacks.meter)."""
        losses = self._objective.losses(self.network, batch)
        points = {names.in_training(part): mean for part, (mean, _) in losses.parts.items()}
        return {"loss": losses.total, "points": {names.TRAIN_LOSS_NATS: losses.total, **points}}

    def validation_step(self, batch: Any, batch_index: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the means over all that is predicted of a validation split."""
        if self._shown and batch_index == dataloader_idx == 0:
            self.samples = self._sampled()
        losses = self._objective.losses(self.network, batch)
        domain = self._validated_on[dataloader_idx]
        # Of the whole loss, what the first part counts: it is the one over tokens.
        whole = {names.LOSS_NATS: (losses.total, next(iter(losses.parts.values()))[1])}
        for part, (mean, count) in {**whole, **losses.parts}.items():
            name = names.in_validation(part)
            self.log(
                names.of_domain(name, domain) if domain else name,
                mean,
                batch_size=count,
                on_epoch=True,
                add_dataloader_idx=False,
            )

    def on_validation_epoch_end(self) -> None:
        """Log the perplexity, which has no mean over batches, but follows from that of the loss."""
        nats_per_token = self.trainer.callback_metrics.get(names.VAL_NATS_PER_TOKEN)
        if nats_per_token is not None:
            self.log(names.VAL_PERPLEXITY, perplexity(float(nats_per_token)))

    def configure_optimizers(self) -> Any:
        """Build the optimiser, and the schedule around it, for Lightning."""
        return scheduled(self._optimizer, self._schedule, self.network, self._total_steps)

    def _sampled(self) -> list[Sample]:
        """Within a validation step, where weights that are spread over processes are at hand."""
        batches = [self.transfer_batch_to_device(each, self.device, 0) for each in self._shown]
        # What is compiled is so for the shapes of training, and would be again for these.
        with torch.compiler.set_stance("force_eager"):
            return self._objective.samples(self.network, batches, self._vocabulary)


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
