"""How far a fit goes."""

from dataclasses import dataclass
from typing import Literal

from vertiform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Goal:
    """How far a fit goes, in steps of the optimiser, and by what its best weights are chosen.

    monitor, mode:      a metric of validation, and whether less ("min") or more of it is better.
    gradient_clip_norm: a longer gradient (2-norm over all parameters) is scaled down to this.

    Validation also runs after the last step.
    """

    total_steps: int
    validate_every_steps: int
    monitor: str
    mode: Literal["min", "max"]
    gradient_clip_norm: float

    def __post_init__(self) -> None:
        if self.total_steps < 1 or self.validate_every_steps < 1:
            raise ConfigError(
                f"A run of {self.total_steps} steps, validated every {self.validate_every_steps}, "
                "is none.",
                fix="set both to 1 or more under budget:.",
            )
