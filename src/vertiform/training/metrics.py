"""Where the points of a training run go: a sink of ours, behind Lightning's logger interface."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lightning.pytorch.loggers.logger import Logger


class MetricSink(Protocol):
    """Takes metric points. Implementations must be cheap to call: it is called inside the loop."""

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Keep these points. `step` is the number of optimiser steps completed so far."""
        ...


class NoSink:
    """Keeps nothing: for a run nobody compares."""

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Drop the points."""


class MemorySink:
    """Keeps every point as (step, name, value), for tests and notebooks."""

    def __init__(self) -> None:
        self.points: list[tuple[int, str, float]] = []

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Append the points."""
        self.points.extend((step, name, value) for name, value in points.items())

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
