"""Measures the speed of training steps, and hands what a step knows of itself to the sink."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from vertiform.evaluation import names
from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.preemption import ends_step
from vertiform.training.metrics import MetricSink


class Meter(Callback):
    """Counts tokens and seconds of training; validation and what it saves are left out."""

    def __init__(self, *, sink: MetricSink, health: Health, every_steps: int) -> None:
        self._sink = sink
        self._health = health
        self._every_steps = every_steps
        self.seconds = 0.0
        self.tokens = 0
        self._since = time.perf_counter()
        self._at_last_point = (0.0, 0)
        self._lr = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Mean over this process's training steps so far; 0 before the first."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Note the rate of this step; once it is done, the schedule has set the next one's."""
        self._lr = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch; now and then, write a point."""
        self._take_time()
        self.tokens += batch.num_tokens
        step = trainer.global_step
        if ends_step(trainer, batch_idx) and step % self._every_steps == 0:
            self._health.check(step=step)
            self._sink.log_points(self._points(), step=step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._take_time()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start it again."""
        self._since = time.perf_counter()

    def _take_time(self) -> None:
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now

    def _points(self) -> dict[str, float]:
        seconds, tokens = self._at_last_point
        self._at_last_point = (self.seconds, self.tokens)
        return {
            names.LEARNING_RATE: self._lr,
            names.GRADIENT_NORM: float(self._health.gradient_norm),
            names.TOKENS_PER_SECOND: (self.tokens - tokens) / (self.seconds - seconds),
        }
