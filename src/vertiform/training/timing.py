"""Measures what a run takes by a few steps of it, whose weights are thrown away."""

import copy
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from vertiform.batches.loading import BatchRange
from vertiform.errors import ConfigError
from vertiform.files import read_json, write_json
from vertiform.training.callbacks.meter import peak_memory_bytes
from vertiform.training.feed import Feed
from vertiform.training.hardware import Choices, applied, choose, compile_blocks
from vertiform.training.trainer import TrainerParams, memory_kept
from vertiform.training.workload import Recipe, Workload

STEPS = "steps.json"  # beside a run's checkpoints: how many steps its hours came to

WARM_UP_STEPS = 3  # of the first, memory is new and kernels are compiled
TIMED_STEPS = 7
COUNTED_STEPS = 8  # each at the beginning and at the end of what is scheduled

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What training takes in one process on this machine.

    seconds_per_step:       median, what waiting for data takes counted too. The loop around a step,
                            which logs and keeps, is not: a run of the demo's network on one core
                            took 11 to 16 % longer.
    seconds_per_validation: of all domains' validation splits.
    weights_bytes, gradients_bytes, optimizer_bytes: exact, of the tensors themselves.
    peak_bytes:             the most that tensors took on a GPU, or else this process in all.
    """

    seconds_per_step: float
    seconds_per_validation: float
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    peak_bytes: int

    def seconds_of(self, *, steps: int, validate_every_steps: int) -> float:
        """What a run of so many steps takes, starting and writing left out."""
        validations = -(-steps // validate_every_steps)  # the last step's too
        return steps * self.seconds_per_step + validations * self.seconds_per_validation


def steps_of(
    workload: Workload, recipe: Recipe, *, trainer: TrainerParams, kept: Path | None
) -> int:
    """Return how many steps a run's budget comes to.

    kept: the file in which the number is kept that hours came to. They come to another one at each
          measurement, and a killed run has to go on to the end that it began for.
    """
    budget = recipe.budget
    is_measured = budget.total_hours is not None
    if is_measured and kept is not None and kept.exists():
        return read_json(kept)["steps"]
    check_measurable(recipe, trainer)

    def seconds_per_step() -> float:
        measured = measure(workload, recipe, trainer=trainer)
        return seconds_with_validation(measured, recipe)

    steps = budget.steps(
        tokens_per_step=recipe.batches.tokens_per_batch,
        flops_per_step=lambda: flops_per_step(workload, recipe),
        seconds_per_step=seconds_per_step,
    )
    if is_measured:
        logger.info("%g hours are %s steps, as measured here.", budget.total_hours, f"{steps:,}")
        if kept is not None:
            write_json(kept, {"steps": steps, "total_hours": budget.total_hours})
    return steps


def check_measurable(recipe: Recipe, trainer: TrainerParams) -> None:
    """Raise ConfigError for hours of several processes, of which one says nothing."""
    if recipe.budget.total_hours is not None and trainer.strategy != "one":
        raise ConfigError(
            "budget.total_hours is measured in one process, and "
            f"trainer.strategy={trainer.strategy} trains in several.",
            fix="give budget.total_steps instead; a short run logs its speed/tokens_per_second.",
        )


def seconds_with_validation(measured: Measured, recipe: Recipe) -> float:
    """Return what a step takes with its share of the validations."""
    share = measured.seconds_per_validation / recipe.budget.validate_every_steps
    return measured.seconds_per_step + share


def flops_per_step(workload: Workload, recipe: Recipe) -> float:
    """Return the model FLOPs of a step, the mean of some over the course of the run."""
    count = recipe.objective.step_flops(workload.network)
    # What is scheduled goes from its first value to its last in a straight line.
    first, last = (replace(workload.train, total_steps=steps) for steps in (sys.maxsize, None))
    return fmean(count(batches[n]) for batches in (first, last) for n in range(COUNTED_STEPS))


def measure(workload: Workload, recipe: Recipe, *, trainer: TrainerParams) -> Measured:
    """Train for a few steps, and validate a few batches, on a copy of the network.

    The steps read the run's own first batches, by its own loader. Torch's generators end as they
    began.
    """
    choices = choose(trainer)
    device = torch.device(choices.device)
    with applied(choices), memory_kept(), torch.random.fork_rng(), torch.enable_grad():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        trial = _Trial(workload, recipe, trainer=trainer, choices=choices)
        per_step = trial.seconds_per_step()
        weights = trial.parameters
        return Measured(
            seconds_per_step=per_step,
            seconds_per_validation=trial.seconds_per_validation(),
            weights_bytes=_bytes_of(weights),
            gradients_bytes=_bytes_of([p.grad for p in weights if p.grad is not None]),
            optimizer_bytes=_bytes_of(_tensors_of(trial.optimizer)),
            peak_bytes=peak_memory_bytes(device),
        )


class _Trial:
    """Does what the loop does in a step and in a validation, without what it keeps and logs."""

    def __init__(
        self, workload: Workload, recipe: Recipe, *, trainer: TrainerParams, choices: Choices
    ) -> None:
        self._workload = workload
        self._recipe = recipe
        self._trainer = trainer
        self._choices = choices
        self._device = torch.device(choices.device)
        self._network: nn.Module = copy.deepcopy(workload.network).to(self._device)
        if choices.compiles.value == "on":
            compile_blocks(self._network)
        self.optimizer = recipe.optimizer.build(self._network)
        for group in self.optimizer.param_groups:
            # Full steps without the schedule's warm-up could end in numbers that are none.
            group["lr"] = 0.0

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The network's, shared ones once."""
        return list(self._network.parameters())

    def seconds_per_step(self) -> float:
        """Time some steps after others that warm up."""
        self._network.train()
        passes, steps = self._trainer.accumulation, WARM_UP_STEPS + TIMED_STEPS
        feed = Feed(
            BatchRange(
                batches=replace(self._workload.train, parts=passes),
                first=0,
                last=steps * passes,
                workers=self._trainer.loader_workers,
            ),
            pins=self._device.type == "cuda",
            step_flops=self._recipe.objective.step_flops(self._workload.network),
        )
        batches = iter(feed)
        return self._timed(lambda: self._step(batches), times=steps, warm_up=WARM_UP_STEPS)

    def seconds_per_validation(self) -> float:
        """Time some validation batches after one that warms up; there are as many of each kind."""
        ranges = self._workload.validating()
        total = sum(each.last - each.first for each in ranges)
        timed = min(TIMED_STEPS, total)
        self._network.eval()
        batches = iter([ranges[0].batches[n % ranges[0].last] for n in range(1 + timed)])
        with torch.inference_mode():
            per_batch = self._timed(lambda: self._loss(next(batches)), times=1 + timed, warm_up=1)
        return total * per_batch

    def _step(self, batches: Iterator[Any]) -> None:
        passes = self._trainer.accumulation
        self.optimizer.zero_grad()
        for batch in islice(batches, passes):
            (self._loss(batch) / passes).backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, self._recipe.optimizer.gradient_clip_norm)
        self.optimizer.step()

    def _loss(self, batch: Any) -> Tensor:
        is_mixed = self._choices.precision.value == "bf16-mixed"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=is_mixed):
            batch = move_data_to_device(batch, self._device)
            return self._recipe.objective.losses(self._network, batch).total

    def _timed(self, work: Callable[[], Any], *, times: int, warm_up: int) -> float:
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            work()
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            seconds.append(time.perf_counter() - started)
        return median(seconds[warm_up:])


def _tensors_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    states = optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def _bytes_of(tensors: list[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
