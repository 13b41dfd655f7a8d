"""Decides when a checkpoint is written, and which weights are the best so far."""

from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.errors import ConfigError, did_you_mean
from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.preemption import Preempted, Preemption, ends_step
from vertiform.training.checkpoint_writer import CheckpointWriter
from vertiform.training.checkpoints import OURS, RunCheckpoints


class Keeper(Callback):
    """Has a checkpoint written every few steps and after each validation; keeps the best weights.

    A step that is validated is saved after its validation, not before: going on from the earlier
    moment, Lightning would leave that validation out.
    """

    def __init__(
        self,
        *,
        run: RunCheckpoints,
        writer: CheckpointWriter,
        health: Health,
        preemption: Preemption,
        every_steps: int | None,
        validate_every_steps: int,
        total_steps: int,
        monitor: str,
        mode: Literal["min", "max"],
    ) -> None:
        self._run = run
        self._writer = writer
        self._health = health
        self._preemption = preemption
        self._every_steps = every_steps
        self._validate_every_steps = validate_every_steps
        self._total_steps = total_steps
        self._monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self.best_step: int | None = None
        self.best_metrics: dict[str, float] = {}

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save, unless this step's validation is still to come; end the run if asked to."""
        if not ends_step(trainer, batch_idx):
            return
        step = trainer.global_step
        is_last = step == self._total_steps
        if is_last:
            trainer.should_stop = True  # Lightning validates before it stops, whatever the interval
        if is_last or step % self._validate_every_steps == 0:
            return
        is_asked = self._preemption.is_asked
        if self._every_steps and (is_asked or step % self._every_steps == 0):
            self._save(trainer)
        if is_asked:
            raise Preempted

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights if they are the best; save; end the run if asked to."""
        metrics = validation_metrics(trainer, monitor=self._monitor)
        self._health.check(step=trainer.global_step)
        if self._is_better(metrics):
            self.best_step = trainer.global_step
            self.best_metrics = metrics
            self._writer.keep_best(pl_module.state_dict(), step=self.best_step)
        if self._every_steps:
            self._save(trainer)
        if self._preemption.is_asked and trainer.global_step < self._total_steps:
            raise Preempted

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put what is needed to go on beside Lightning's own state."""
        checkpoint[OURS] = {
            "step": trainer.global_step,
            "best_step": self.best_step,
            "best_metrics": self.best_metrics,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it back, before Lightning takes its own.

        Lightning counts passes. A run may go on with another accumulation, or on another number of
        processes, than it was saved with; then the same step comes after another number of passes.
        """
        self.remember(checkpoint[OURS])
        counted = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        passes = checkpoint[OURS]["step"] * trainer.accumulate_grad_batches
        missing = passes - counted["total"]["ready"]
        for counts in (counted["total"], counted["current"]):
            counts.update({name: count + missing for name, count in counts.items()})

    def remember(self, state: dict[str, Any]) -> None:
        """Take over which weights were the best."""
        self.best_step, self.best_metrics = state["best_step"], state["best_metrics"]

    def _is_better(self, metrics: dict[str, float]) -> bool:
        if self.best_step is None:
            return True
        return self._sign * metrics[self._monitor] < self._sign * self.best_metrics[self._monitor]

    def _save(self, trainer: Trainer) -> None:
        self._health.check(step=trainer.global_step)
        trainer.save_checkpoint(self._run.at_step(trainer.global_step))


def validation_metrics(trainer: Trainer, *, monitor: str) -> dict[str, float]:
    """Return what the validation just done found. Raises ConfigError if `monitor` is not in it."""
    metrics = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if not name.startswith("train/")
    }
    if monitor not in metrics:
        raise ConfigError(
            f"monitor `{monitor}` is no metric of this run.", fix=did_you_mean(monitor, metrics)
        )
    return metrics
