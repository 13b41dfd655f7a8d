"""How long a run is."""

from dataclasses import dataclass

from vertiform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The key `budget` of conf/pretrain.yaml: steps of the optimiser, or tokens seen, not both."""

    total_steps: int | None = None
    total_tokens: int | None = None
    validate_every_steps: int

    def __post_init__(self) -> None:
        given = [n for n in (self.total_steps, self.total_tokens) if n is not None]
        if len(given) != 1 or given[0] < 1 or self.validate_every_steps < 1:
            raise ConfigError(
                "The budget needs either budget.total_steps or budget.total_tokens, and "
                "budget.validate_every_steps, each 1 or more.",
                fix="give one of the two and set the other to null.",
            )

    def steps(self, *, tokens_per_step: int) -> int:
        """The steps of the run; tokens are rounded up to whole steps."""
        if self.total_steps is not None:
            return self.total_steps
        assert self.total_tokens is not None
        return -(-self.total_tokens // tokens_per_step)
