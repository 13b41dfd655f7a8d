"""Says now and then what the machine does, and at each validation what energy a run took."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.training.callbacks.preemption import ends_step
from vertiform.training.energy import Energy
from vertiform.training.machine import Machine
from vertiform.training.metrics import MetricSink


class Watch(Callback):
    """Reads at the end of a step, not in a thread that would take turns with the training.

    machine: None in all processes but the first, which speaks of its own machine.
    energy:  in every process, as all are asked at each validation.

    What it reads depends on the clock, and nothing of the training on what it reads.
    """

    def __init__(
        self,
        *,
        sink: MetricSink,
        machine: Machine | None,
        energy: Energy,
        every_seconds: float,
    ) -> None:
        self._sink = sink
        self._machine = machine
        self._energy = energy
        self._every_seconds = every_seconds
        self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first interval."""
        self._last = time.monotonic()
        if self._machine is not None:
            self._machine.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Read the machine if the last time is long enough ago, and at the last step."""
        if not ends_step(trainer, batch_idx):
            return
        step = trainer.global_step
        if time.monotonic() - self._last >= self._every_seconds or step == trainer.max_steps:
            self._last = time.monotonic()
            self._energy.used()  # a counter that starts again at 0 must be read often
            if self._machine is not None:
                self._sink.log_points(self._machine.points(), step=step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what was taken so far."""
        self._sink.log_points(self._energy.points(), step=trainer.global_step)
