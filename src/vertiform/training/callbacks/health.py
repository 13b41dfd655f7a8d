"""Clips the gradient, and stops a run whose loss or gradient is no number any more."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from vertiform.errors import TrainingError


class Health(Callback):
    """Checks every step on a CPU; elsewhere when asked, since a look at a GPU's value waits for it.

    Its owner asks before anything is logged or saved, so a broken weight is never kept.
    """

    def __init__(self, *, gradient_clip_norm: float) -> None:
        self._gradient_clip_norm = gradient_clip_norm
        self.gradient_norm = torch.zeros(())  # of the last step, before clipping
        self.loss = torch.zeros(())  # of the last step, the mean over its parts
        self.seen_loss = 0.0  # the last one that was looked at

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Scale the gradient down to the highest norm allowed."""
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, self._gradient_clip_norm)
        # Of sharded gradients it is a sum that is still to be made, by all processes together.
        self.gradient_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add up the loss of a step's parts, and look at it where looking is free."""
        part = loss_of(outputs)  # Lightning has divided it by the number of parts
        starts_step = batch_idx % trainer.accumulate_grad_batches == 0
        self.loss = part if starts_step else self.loss + part
        if self.loss.device.type == "cpu":
            self.check(step=trainer.global_step)

    def check(self, *, step: int) -> None:
        """Raise TrainingError if the last step's loss or gradient was no finite number."""
        for value, name in ((self.loss, "loss"), (self.gradient_norm, "gradient")):
            if not torch.isfinite(value):
                raise TrainingError(
                    f"The {name} became {float(value)} at step {step}; training stopped, and what "
                    "was saved before is untouched.",
                    fix="lower optimizer.lr (to a third, say), raise schedule.warmup_fraction, or "
                    "lower optimizer.gradient_clip_norm.",
                )
        self.seen_loss = float(self.loss)


def loss_of(outputs: Any) -> Tensor:
    """The loss in what a training step returned, a scalar: a tensor, or a mapping with `loss`."""
    return (outputs if isinstance(outputs, Tensor) else outputs["loss"]).detach()
