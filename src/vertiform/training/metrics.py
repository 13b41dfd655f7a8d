"""Where what a training run tells goes: a sink of ours, behind Lightning's logger interface."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lightning.pytorch.loggers.logger import Logger


class MetricSink(Protocol):
    """Takes metric points and small texts. It is called inside the loop, so it must be cheap: no
    method waits for a network, and none raises because a store is away.

    A run that goes on after a kill repeats steps: it may give a (step, name) or a file again that
    was taken before. Points that depend on the clock (`speed/`, `system/`, `energy/`) then differ;
    the first is as true as the second.
    """

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Keep these points. `step` is the number of optimiser steps completed so far."""
        ...

    def log_text(self, text: str, file: str) -> None:
        """Keep `text` as `file`, a path inside the run's artifacts, whole or not at all."""
        ...

    def sync(self) -> None:
        """Have on the disk whatever was given before: a checkpoint is never newer than its points.

        Called on the thread that writes checkpoints. Raises StorageError if the disk takes nothing.
        """
        ...


class NoSink:
    """Keeps nothing: for a run nobody compares."""

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Drop the points."""

    def log_text(self, text: str, file: str) -> None:
        """Drop the text."""

    def sync(self) -> None:
        """There is nothing to sync."""


class MemorySink:
    """Keeps every point as (step, name, value) and every text by its file, for tests."""

    def __init__(self) -> None:
        self.points: list[tuple[int, str, float]] = []
        self.texts: dict[str, str] = {}

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Append the points."""
        self.points.extend((step, name, value) for name, value in points.items())

    def log_text(self, text: str, file: str) -> None:
        """Keep the text, the last one given for a file."""
        self.texts[file] = text

    def sync(self) -> None:
        """There is no disk."""

    def of(self, name: str) -> dict[int, float]:
        """One metric's values by step."""
        return {step: value for step, key, value in self.points if key == name}


class SinkLogger(Logger):
    """Hands what a LightningModule logs to a MetricSink.

    Lightning numbers a point by the steps before it, and by batches in some places; every point
    is given the steps completed instead, from `completed_steps`.
    """

    def __init__(self, sink: MetricSink, *, completed_steps: Callable[[], int]) -> None:
        super().__init__()
        self._sink = sink
        self._completed_steps = completed_steps

    @property
    def name(self) -> None:
        """None: no folder is made for this logger."""

    @property
    def version(self) -> None:
        """None: no folder is made for this logger."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass the points on, without the `epoch` Lightning adds: our unit is the step."""
        points = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        if points:
            self._sink.log_points(points, step=self._completed_steps())

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a run's config is logged by whoever opened the run."""
