"""The LightningModule of fine-tuning. It only delegates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn

from vertiform.batches.examples import IGNORED, Example, ExampleBatch
from vertiform.evaluation import names
from vertiform.tasks.network import TaskNetwork, nats
from vertiform.tasks.outputs import example_logits
from vertiform.tasks.rows import Row
from vertiform.tasks.task import Prediction, Task, scores_of
from vertiform.training.modules import scheduled
from vertiform.training.optimizers import AdamW
from vertiform.training.samples import ROWS, GivesSamples, Sample, shortened, spread
from vertiform.training.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class TwoRates:
    """One optimiser with its own settings for the encoder and for what is added to it."""

    encoder: AdamW
    added: AdamW

    def build(self, network: nn.Module) -> torch.optim.AdamW:
        """Return the optimiser of the parameters of a TaskNetwork that are trained."""
        assert isinstance(network, TaskNetwork)
        added = self.added.build(network.added)
        if not any(p.requires_grad for p in network.encoder.parameters()):
            return added
        built = self.encoder.build(network.encoder)
        for group in added.param_groups:
            built.add_param_group(group)
        return built


class TaskModule(GivesSamples, LightningModule):
    """Trains a network for a task, and scores it on validation rows.

    validation_rows, validation_examples: the rows that validation batches come from, and these
                encoded, in the numbers that the batches give.
    """

    def __init__(
        self,
        *,
        network: TaskNetwork,
        task: Task,
        validation_rows: Sequence[Row],
        validation_examples: Sequence[Example],
        optimizer: "TwoRates",
        schedule: Schedule,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.network = network
        self._task = task
        self._validation_rows = validation_rows
        self._validation_examples = validation_examples
        self._optimizer = optimizer
        self._schedule = schedule
        self._total_steps = total_steps
        self._found: dict[int, np.ndarray] = {}

    def training_step(self, batch: ExampleBatch, batch_index: int) -> dict[str, Any]:
        """Return the loss to descend, and what is logged of it (callbacks.meter)."""
        logits = self.network(batch)
        # Of no label there is no mean, but a network on many devices waits for all its gradients.
        mean = nats(logits, batch.targets) if batch.weight else logits.sum() * 0.0
        loss = batch.weight * mean
        return {"loss": loss, "points": {names.TRAIN_LOSS_NATS: loss.detach()}}

    def validation_step(self, batch: ExampleBatch, batch_index: int) -> None:
        """Keep the outputs, to be scored together."""
        logits = self.network(batch)
        self._found.update(example_logits(batch, logits))
        labelled = int((batch.targets != IGNORED).sum())
        self.log(
            names.VAL_LOSS_NATS,
            nats(logits, batch.targets),
            batch_size=labelled,
        )

    def on_validation_epoch_end(self) -> None:
        """Score all validation rows."""
        rows, examples = self._validation_rows, self._validation_examples
        logits = [self._found[number] for number in range(len(examples))]
        self._found.clear()
        gathered = self._task.gather(rows, examples, logits)
        predictions = [self._task.decode(of_row, temperature=1.0) for of_row in gathered]
        self.log_dict(scores_of(self._task, rows, predictions, split="validation"))
        self.samples = [self._sample(rows[n], predictions[n]) for n in spread(len(rows), ROWS)]

    def configure_optimizers(self) -> Any:
        """Build the optimiser, and the schedule around it, for Lightning."""
        return scheduled(self._optimizer, self._schedule, self.network, self._total_steps)

    def _sample(self, row: Row, prediction: Prediction) -> Sample:
        text, table = self._task.compare(row, prediction)
        return Sample(text=shortened(text), rows=table)
