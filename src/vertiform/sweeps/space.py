"""What a sweep may choose: named dimensions, and branches that exist only under a choice."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from vertiform.errors import ConfigError
from vertiform.sweeps.dimensions import Dimension, Value

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

MOST_COMBINATIONS = 10_000  # of a grid


@dataclass(frozen=True)
class Branch:
    """Dimensions that exist only in trials where the dimension `key` was given `value`."""

    key: str
    value: Value
    dimensions: tuple[Dimension, ...]


@dataclass(frozen=True)
class Space:
    """All dimensions of a sweep.

    A branch may hang on a dimension of another branch. A key may stand in several branches of
    which a trial can have only one (a learning rate of each optimiser); Optuna then knows it under
    a name of its own in each, since it can learn nothing about the one from the other.
    """

    dimensions: tuple[Dimension, ...]
    branches: tuple[Branch, ...] = ()

    def suggest(self, trial: "BaseTrial") -> dict[str, Value]:
        """Ask `trial` for every dimension that exists in it; the values by their keys."""
        return self.filled(lambda name, dimension: dimension.suggest(trial, name))

    def params(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The parameters by Optuna's names that `values` come to: for `Study.enqueue_trial`."""
        named: dict[str, Value] = {}

        def given(name: str, dimension: Dimension) -> Value:
            named[name] = values[dimension.key]
            return named[name]

        self.filled(given)
        return named

    def values(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """The values by their keys of a trial whose `params` Optuna has.

        A trial that ended while it was asked has those it was asked for; one that waits has none.
        """
        values: dict[str, Value] = {}
        for name, dimension in self._existing(self.dimensions, "", values):
            if name not in params:
                break
            values[dimension.key] = dimension.value_of(params[name])
        return values

    def completed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """A whole trial of `values`; a dimension takes its first end where they do not fit it."""

        def chosen(_: str, dimension: Dimension) -> Value:
            ends = dimension.ends()
            value = values.get(dimension.key, ends[0])
            return value if dimension.holds(value) else ends[0]

        return self.filled(chosen)

    def grid(self) -> dict[str, tuple[Value, ...]]:
        """Every value of every dimension.

        Raises ConfigError where there are branches, or intervals, which have no end of values.
        """
        if self.branches:
            raise ConfigError(
                "A grid has no branches: it would hold a combination several times.",
                fix="choose sampler=tpe, or a search without branches.",
            )
        values = {dimension.key: dimension.options_or_none() for dimension in self.dimensions}
        for key, options in values.items():
            if options is None:
                raise ConfigError(
                    f"A grid needs every value of `{key}`, and an interval has no end of them.",
                    fix=f"give {key}=choice(...) or range(...), or choose sampler=tpe.",
                )
        return {key: options for key, options in values.items() if options is not None}

    def combinations(self) -> list[dict[str, Value]]:
        """Every combination of the grid's values. Raises ConfigError for more than anyone runs."""
        grid = self.grid()
        if (count := prod(map(len, grid.values()))) > MOST_COMBINATIONS:
            raise ConfigError(
                f"A grid of this space has {count:,} combinations.",
                fix="choose sampler=tpe or sampler=random, or search less.",
            )
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def places(self) -> Iterator[tuple[dict[str, Value], tuple[Dimension, ...]]]:
        """Dimensions that exist together, each with the choices that bring them about."""
        yield from self._below({}, self.dimensions)

    def as_json(self) -> str:
        """The same text for the same space, in whatever order its dimensions were written."""
        branches = [
            {"key": b.key, "value": b.value, "dimensions": _plain(b.dimensions)}
            for b in self.branches
        ]
        branches.sort(key=lambda branch: json.dumps(branch, sort_keys=True))
        plain = {"dimensions": _plain(self.dimensions), "branches": branches}
        return json.dumps(plain, sort_keys=True)

    def _below(
        self, conditions: dict[str, Value], dimensions: tuple[Dimension, ...]
    ) -> Iterator[tuple[dict[str, Value], tuple[Dimension, ...]]]:
        yield conditions, dimensions
        keys = {dimension.key for dimension in dimensions}
        for branch in self.branches:
            # A branch below a value of its own key would be walked for ever.
            if branch.key in keys and branch.key not in conditions:
                yield from self._below(conditions | {branch.key: branch.value}, branch.dimensions)

    def filled(self, value_of: Callable[[str, Dimension], Value]) -> dict[str, Value]:
        """Ask `value_of` for each dimension that exists under what it answered before."""
        values: dict[str, Value] = {}
        for name, dimension in self._existing(self.dimensions, "", values):
            values[dimension.key] = value_of(name, dimension)
        return values

    def _existing(
        self, dimensions: tuple[Dimension, ...], branch_name: str, values: Mapping[str, Value]
    ) -> Iterator[tuple[str, Dimension]]:
        """Name and dimension; whoever reads on has put its value into `values`."""
        for dimension in dimensions:
            key = dimension.key
            yield (f"{key} ({branch_name})" if key in self._repeated() else key), dimension
            for branch in self.branches:
                if branch.key == key and branch.value == values[key]:
                    name = f"{key}={branch.value}"
                    yield from self._existing(branch.dimensions, name, values)

    def _repeated(self) -> set[str]:
        every = [
            d.key for d in (*self.dimensions, *(d for b in self.branches for d in b.dimensions))
        ]
        return {key for key in every if every.count(key) > 1}


def _plain(dimensions: Iterable[Dimension]) -> list[dict[str, Any]]:
    plain = [{"kind": type(d).__name__.lower(), **asdict(d)} for d in dimensions]
    return sorted(plain, key=lambda dimension: dimension["key"])
