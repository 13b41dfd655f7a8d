"""Measures training steps, and hands what a step knows of itself to the sink."""

import logging
import resource
import sys
import time
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from vertiform.evaluation import names
from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.preemption import ends_step
from vertiform.training.distributed import mean_of_all
from vertiform.training.feed import Counts, Feed
from vertiform.training.metrics import MetricSink

logger = logging.getLogger(__name__)


class _Totals(NamedTuple):
    """What was measured up to some moment."""

    seconds: float = 0.0
    seconds_waited: float = 0.0
    counts: Counts = Counts()


class Meter(Callback):
    """Counts tokens and seconds of training; validation and what it saves are left out.

    peak_flops: dense FLOP/s of one device at its best; None leaves its utilisation out.

    A training step may return `points` beside its `loss`: scalars by name, one device's, of which
    the mean over the parts of a step, of all processes, is logged. They are read every
    `every_steps` steps alone.
    """

    def __init__(
        self,
        *,
        sink: MetricSink,
        health: Health,
        feed: Feed,
        peak_flops: float | None,
        every_steps: int,
    ) -> None:
        self._sink = sink
        self._health = health
        self._feed = feed
        self._peak_flops = peak_flops
        self._every_steps = every_steps
        self._total = _Totals()
        self._at_last_point = _Totals()
        self._since = time.perf_counter()
        self._waited_before = 0.0  # the clock ran
        self._lr = 0.0
        self._points: dict[str, Tensor] = {}
        self._ranks = 1
        self._device = torch.device("cpu")

    @property
    def seconds(self) -> float:
        """Of this process's training steps so far."""
        return self._total.seconds

    @property
    def tokens_per_second(self) -> float:
        """Mean over the training steps so far, of all processes; 0 before the first."""
        return self._ranks * self._total.counts.tokens / self.seconds if self.seconds else 0.0

    @property
    def speed(self) -> dict[str, float]:
        """The mean speed since the start and the most memory taken; empty before the first step."""
        return self._speed(_Totals()) if self.seconds else {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._ranks = trainer.world_size
        self._device = pl_module.device
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._waited_before = self._feed.seconds_waited
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
        """Count the batch; now and then, and after the last step, write a point."""
        self._take_time(self._feed.next_counts())
        self._add_points(outputs, parts=trainer.accumulate_grad_batches)
        if not ends_step(trainer, batch_idx):
            return
        step = trainer.global_step
        if step % self._every_steps == 0 or step == trainer.max_steps:
            self._health.check(step=step)
            self._sink.log_points(self._logged(), step=step)
        self._points = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, once the device has done what it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._take_time(Counts())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start it again."""
        self._since = time.perf_counter()

    def _take_time(self, counts: Counts) -> None:
        now = time.perf_counter()
        self._total = _Totals(
            seconds=self._total.seconds + now - self._since,
            seconds_waited=self._feed.seconds_waited - self._waited_before,
            counts=self._total.counts.plus(counts),
        )
        self._since = now

    def _add_points(self, outputs: Any, *, parts: int) -> None:
        points = outputs.get("points", {}) if isinstance(outputs, dict) else {}
        for name, value in points.items():
            share = value.detach() / parts
            self._points[name] = self._points[name] + share if name in self._points else share

    def _logged(self) -> dict[str, float]:
        since, self._at_last_point = self._at_last_point, self._total
        return {
            **mean_of_all({name: float(value) for name, value in self._points.items()}),
            names.LEARNING_RATE: self._lr,
            names.GRADIENT_NORM: float(self._health.gradient_norm),
            **self._speed(since),
        }

    def _speed(self, since: _Totals) -> dict[str, float]:
        """What the steps since an earlier moment came to."""
        seconds = self._total.seconds - since.seconds
        waited = self._total.seconds_waited - since.seconds_waited
        tokens, slots, flops = (
            now - then for now, then in zip(self._total.counts, since.counts, strict=True)
        )
        speed = {
            names.TOKENS_PER_SECOND: self._ranks * tokens / seconds,
            names.DATA_WAIT_FRACTION: min(1.0, waited / seconds),
            names.PADDING_FRACTION: 1 - tokens / slots,
            names.PEAK_MEMORY_BYTES: float(peak_memory_bytes(self._device)),
        }
        if flops:
            speed[names.MODEL_FLOPS_PER_SECOND] = self._ranks * flops / seconds
            if self._peak_flops:
                speed[names.MODEL_FLOPS_UTILISATION] = flops / seconds / self._peak_flops
        return speed


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that tensors took on a GPU, or else that this process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB on Linux
