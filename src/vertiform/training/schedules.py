"""Learning rates over a run: what conf/schedule/ can name.

A schedule is a function of the step and the number of steps, nothing else, so that going on after
a kill needs no state of it. `factor` multiplies optimizer.lr.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from vertiform.errors import ConfigError


class Schedule(Protocol):
    """The share of the highest learning rate at each step."""

    def factor(self, step: int, *, total_steps: int) -> float:
        """Return the factor, 0 to 1, for step 0 <= step < total_steps."""
        ...


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Up in a line over the first steps, then down along half a cosine (Loshchilov 2017).

    warmup_fraction:   of all steps.
    final_lr_fraction: of the highest rate, reached with the last step.
    """

    warmup_fraction: float
    final_lr_fraction: float

    def __post_init__(self) -> None:
        _check_fractions(self.warmup_fraction, self.final_lr_fraction)

    def factor(self, step: int, *, total_steps: int) -> float:
        """See Schedule."""
        warmed, done = _progress(step, total_steps, self.warmup_fraction)
        if warmed < 1:
            return warmed
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.final_lr_fraction + (1 - self.final_lr_fraction) * cosine


@dataclass(frozen=True, kw_only=True)
class WarmupLinear:
    """Up in a line over the first steps, then down in a line (Devlin et al. 2019).

    Its fields are those of WarmupCosine.
    """

    warmup_fraction: float
    final_lr_fraction: float

    def __post_init__(self) -> None:
        _check_fractions(self.warmup_fraction, self.final_lr_fraction)

    def factor(self, step: int, *, total_steps: int) -> float:
        """See Schedule."""
        warmed, done = _progress(step, total_steps, self.warmup_fraction)
        if warmed < 1:
            return warmed
        return self.final_lr_fraction + (1 - self.final_lr_fraction) * (1 - done)


def _progress(step: int, total_steps: int, warmup_fraction: float) -> tuple[float, float]:
    """How far the warm-up is (1 when over), and how far what follows it is, each 0 to 1."""
    warmup_steps = round(total_steps * warmup_fraction)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1), 0.0  # no step is wasted at rate 0
    done = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    return 1.0, min(1.0, done)


def _check_fractions(warmup: float, final: float) -> None:
    if not (0 <= warmup < 1 and 0 <= final <= 1):
        raise ConfigError(
            "schedule.warmup_fraction and schedule.final_lr_fraction must lie between 0 and 1.",
            fix="0.06 and 0.1 are usual.",
        )
