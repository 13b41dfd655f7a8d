"""How long a run is."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from vertiform.errors import ConfigError

LENGTHS = ("total_steps", "total_tokens", "total_hours", "total_flops")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The key `budget` of conf/pretrain.yaml: one of four lengths of the run.

    total_steps:  of the optimiser.
    total_tokens: seen, repetitions and special tokens counted.
    total_hours:  that training and its validations take on this machine, as a few steps of it were
                  measured before the first.
    total_flops:  model FLOPs (training.flops), of training alone.
    """

    total_steps: int | None = None
    total_tokens: int | None = None
    total_hours: float | None = None
    total_flops: float | None = None
    validate_every_steps: int

    def __post_init__(self) -> None:
        given = {n: v for n in LENGTHS if (v := getattr(self, n)) is not None}
        named = " and ".join(f"budget.{name}" for name in given) or "none"
        if len(given) != 1:
            raise ConfigError(
                f"The budget needs one length of the run, and has {named}.",
                fix=f"give one of {', '.join(LENGTHS)} under budget:, and set the others to null.",
            )
        if not min(*given.values(), self.validate_every_steps) > 0:
            raise ConfigError(
                f"{named} and budget.validate_every_steps must be more than 0.",
                fix="set both to more.",
            )

    def steps(
        self,
        *,
        tokens_per_step: int,
        flops_per_step: Callable[[], float],
        seconds_per_step: Callable[[], float],
    ) -> int:
        """The steps of the run, rounded up to whole ones; what takes long is called if needed."""
        if self.total_steps is not None:
            return self.total_steps
        if self.total_tokens is not None:
            return -(-self.total_tokens // tokens_per_step)
        if self.total_flops is not None:
            return ceil(self.total_flops / flops_per_step())
        assert self.total_hours is not None
        # Down, since a limit of hours is one; but a run without a step is none.
        return max(1, int(3600 * self.total_hours / seconds_per_step()))
