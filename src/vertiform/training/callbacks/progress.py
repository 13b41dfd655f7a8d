"""Shows how far a run is: one line that moves in a terminal, a line now and then in a log."""

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.progress import SECONDS_BEFORE_FIRST_LINE, SECONDS_BETWEEN_LOG_LINES
from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.meter import Meter

SECONDS_BETWEEN_REDRAWS = 0.2


class Progress(Callback):
    """pretrain software: step 1,200 of 4,000, loss 5.123, 41,000 tokens/s, 9 min 3 s left"""

    def __init__(
        self, *, what: str, total_steps: int, monitor: str, meter: Meter, health: Health
    ) -> None:
        self._what = what
        self._total_steps = total_steps
        self._monitor = monitor
        self._meter = meter
        self._health = health
        self._in_terminal = sys.stderr.isatty()
        self._first_step = 0
        self._last_shown = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait a little before the first line."""
        self._first_step = trainer.global_step
        self._last_shown = time.monotonic() + SECONDS_BEFORE_FIRST_LINE - self._pause

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show the line if the last one is old enough."""
        if time.monotonic() - self._last_shown >= self._pause:
            self._last_shown = time.monotonic()
            # Not this step's: a look at a GPU's value would wait for it.
            self._show(self._line(trainer, loss=self._health.seen_loss))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the moving line away."""
        if self._in_terminal:
            sys.stderr.write("\r\x1b[K")

    @property
    def _pause(self) -> float:
        return SECONDS_BETWEEN_REDRAWS if self._in_terminal else SECONDS_BETWEEN_LOG_LINES

    def _line(self, trainer: Trainer, *, loss: float) -> str:
        step = trainer.global_step
        seconds_per_step = self._meter.seconds / max(1, step - self._first_step)
        left = seconds_per_step * (self._total_steps - step)
        parts = [f"step {step:,} of {self._total_steps:,}", f"loss {loss:.3f}"]
        if self._monitor in trainer.callback_metrics:
            parts.append(f"{self._monitor} {float(trainer.callback_metrics[self._monitor]):.3f}")
        parts.append(f"{self._meter.tokens_per_second:,.0f} tokens/s")
        parts.append(f"{in_words(left)} left")
        return f"{self._what}: {', '.join(parts)}"

    def _show(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}" if self._in_terminal else f"{line}\n")
        sys.stderr.flush()


def in_words(seconds: float) -> str:
    """65 is "1 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
