"""The dimensions of a sweep: intervals, whole numbers and choices."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Value = str | int | float | bool | None  # what Optuna stores, and a configuration can hold


@dataclass(frozen=True)
class Float:
    """A number from `low` to `high`, both possible; with a `step`, one of low, low + step, ..."""

    key: str
    low: float
    high: float
    is_log: bool = False
    step: float | None = None

    def suggest(self, trial: "BaseTrial", name: str) -> Value:
        drawn = trial.suggest_float(name, self.low, self.high, log=self.is_log, step=self.step)
        return self.value_of(drawn)

    def value_of(self, stored: Value) -> Value:
        assert _is_number(stored)
        return float(stored) if self.step is None else self._on_the_grid(stored)

    def holds(self, value: Value) -> bool:
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or abs(self._on_the_grid(value) - value) <= 1e-9 * self.step

    def ends(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    def options_or_none(self) -> tuple[Value, ...] | None:
        if self.step is None:
            return None
        count = round((self.high - self.low) / self.step) + 1
        return tuple(self._on_the_grid(self.low + i * self.step) for i in range(count))

    def _on_the_grid(self, drawn: float) -> float:
        """The decimal that is meant: 0.3, where three times 0.1 gives 0.30000000000000004."""
        assert self.step is not None
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return float(low + step * round((Decimal(drawn) - low) / step))

    def __str__(self) -> str:
        return f"{short(self.low)} to {short(self.high)}{_manner(self.step, is_log=self.is_log)}"


@dataclass(frozen=True)
class Int:
    """A whole number from `low` to `high`, both possible, in steps from `low`."""

    key: str
    low: int
    high: int
    step: int = 1
    is_log: bool = False

    def suggest(self, trial: "BaseTrial", name: str) -> Value:
        drawn = trial.suggest_int(name, self.low, self.high, step=self.step, log=self.is_log)
        return self.value_of(drawn)

    def value_of(self, stored: Value) -> Value:
        assert _is_number(stored)
        return int(stored)

    def holds(self, value: Value) -> bool:
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        return (value - self.low) % self.step == 0

    def ends(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    def options_or_none(self) -> tuple[Value, ...] | None:
        return tuple(range(self.low, self.high + 1, self.step))

    def __str__(self) -> str:
        step = self.step if self.step > 1 else None
        return f"whole numbers {self.low} to {self.high}{_manner(step, is_log=self.is_log)}"


@dataclass(frozen=True)
class Choice:
    """One of `options`, between which no order is meant."""

    key: str
    options: tuple[Value, ...]

    def suggest(self, trial: "BaseTrial", name: str) -> Value:
        return self.value_of(trial.suggest_categorical(name, self.options))

    def value_of(self, stored: Value) -> Value:
        return next(option for option in self.options if _is_same(option, stored))

    def holds(self, value: Value) -> bool:
        return any(_is_same(option, value) for option in self.options)

    def ends(self) -> tuple[Value, ...]:
        return self.options

    def options_or_none(self) -> tuple[Value, ...] | None:
        return self.options

    def __str__(self) -> str:
        return f"one of {', '.join(short(option) for option in self.options)}"


Dimension = Float | Int | Choice


def _is_same(one: Value, other: Value) -> bool:
    """Whether both are one value; to Python, true is 1 too."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _manner(step: float | None, *, is_log: bool) -> str:
    return f"{'' if step is None else f' by {short(step)}'}{', log scale' if is_log else ''}"


def short(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
