"""Refuses a search space that does not fit its door, before anything trains."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from vertiform.cli.compose import CONF, dotted, no_choice
from vertiform.cli.composer import Composer, as_overrides, is_group
from vertiform.cli.search_values import MISSING, START, check_type, door_values, found
from vertiform.errors import ConfigError, did_you_mean
from vertiform.sweeps.dimensions import Choice, Dimension, Float, Value, short
from vertiform.sweeps.space import Branch, Space

OF_START = re.compile(r"(?:start@)?starts\.(\w+)(?:\..+)?")  # starts.domain.lr, start@starts.domain
OTHER_GROUND = ("its trials would not stand on the same ground", "sweep over each by itself")
NEVER_SEARCHED = {
    "domain": OTHER_GROUND,
    "task": OTHER_GROUND,
    "task.name": OTHER_GROUND,
    "task.kind": OTHER_GROUND,
    "task.score": OTHER_GROUND,
    "task.baseline": ("no trial trains the baseline", "leave it out"),
    "monitor": ("trials are compared by it", "give it one value"),
    "seed": ("a lucky seed is no recipe", "leave it out; confirmation_seeds shows what luck does"),
    "experiment": ("a search starts from one", "give it one value"),
    "trainer": ("it changes how fast a run is, not what it learns", "give it one value"),
    "tracking": ("it changes where a run is kept, not what it learns", "give it one value"),
}


def check_space(space: Space) -> None:
    """Raise ConfigError for a key that a trial could have twice, and for an impossible branch."""
    for (held, ours), (others_held, theirs) in combinations(space.places(), 2):
        excluded = any(key in others_held and others_held[key] != held[key] for key in held)
        for key in {d.key for d in ours} & {d.key for d in theirs}:
            if not excluded:
                raise ConfigError(
                    f"`{key}` is searched twice: {_where(held)} and {_where(others_held)}.",
                    fix="leave it out of one; only branches that exclude each other share a key.",
                )
    reached = [dimension for _, dimensions in space.places() for dimension in dimensions]
    for branch in space.branches:
        _check_branch(branch, reached)


def _check_branch(branch: Branch, reached: list[Dimension]) -> None:
    (name,) = as_overrides({branch.key: branch.value})
    hung_on = [dimension for dimension in reached if dimension.key == branch.key]
    if not hung_on:
        raise ConfigError(
            f"The branch `{name}` hangs on `{branch.key}`, which the space does not have.",
            fix=did_you_mean(branch.key, {dimension.key for dimension in reached}),
        )
    if any(isinstance(d, Float) and d.step is None for d in hung_on):
        raise ConfigError(
            f"The branch `{name}` hangs on an interval, which hardly ever gives that number.",
            fix=f"give `{branch.key}` a choice(...) or a range(...).",
        )
    if not any(dimension.holds(branch.value) for dimension in hung_on):
        options = [short(o) for d in hung_on for o in d.options_or_none() or ()]
        raise ConfigError(
            f"The branch `{name}` is never taken: `{branch.key}` is {hung_on[0]}.",
            fix=did_you_mean(short(branch.value), options),
        )
    if not branch.dimensions:
        raise ConfigError(
            f"The branch `{name}` has no dimensions.", fix="give it some, or take it out."
        )


def _where(conditions: Mapping[str, Value]) -> str:
    return f"in the branch {', '.join(as_overrides(conditions))}" if conditions else "in the space"


def check_fit(space: Space, composer: Composer, *, start: str | None) -> None:
    """Raise ConfigError for a dimension that the door's configuration has no place for.

    start: that the trials train which do not choose one; None in pretraining.
    """
    starts = composer.composed({})["starts"] if start is not None else {}
    if start is not None and start not in starts:
        raise ConfigError(
            f"`{start}` is no start of conf/{composer.door}.yaml.", fix=did_you_mean(start, starts)
        )
    for conditions, dimensions in space.places():
        place = _Place.of(composer, door_values(conditions))
        for dimension in dimensions:
            _refuse_never_searched(dimension.key)
            if dimension.key == START:
                _check_starts(dimension, starts)
            else:
                place.check(dimension)
                _check_reached(dimension.key, space, conditions, start=start)


def _refuse_never_searched(key: str) -> None:
    for never, (because, fix) in NEVER_SEARCHED.items():
        is_below = never != "task" and key.startswith(f"{never}.")
        if key == never or is_below:
            raise ConfigError(f"`{key}` cannot be searched: {because}.", fix=f"{fix}.")


def _check_starts(dimension: Dimension, starts: Mapping[str, Any]) -> None:
    if not starts:
        raise ConfigError(
            "`start` is searched, which pretraining does not have.",
            fix="leave it out; `weights` says what pretraining goes on from.",
        )
    for name in dimension.options_or_none() or dimension.ends():
        if name not in starts:
            raise ConfigError(
                f"`start` is {dimension}, and `{short(name)}` is no start.",
                fix=did_you_mean(short(name), starts),
            )


def _check_reached(
    key: str, space: Space, conditions: Mapping[str, Value], *, start: str | None
) -> None:
    """Refuse what is searched about a start that a trial with it may not train."""
    of_start = OF_START.fullmatch(key)
    if start is None or of_start is None:
        return
    name = of_start.group(1)
    is_searched = any(d.key == START for _, dimensions in space.places() for d in dimensions)
    reached = conditions.get(START, None if is_searched else start)
    if reached != name:
        trains = "one of several starts" if is_searched else f"the start `{start}`"
        raise ConfigError(
            f"`{key}` is searched, but a trial with it trains {trains}.",
            fix=f"put it in the branch start={name}." if is_searched else f"add start={name}.",
        )


@dataclass(frozen=True)
class _Place:
    """The door's configuration under the choices of a branch, or of none."""

    name: str
    config: Mapping[str, Any]
    choices: Mapping[str, str]

    @classmethod
    def of(cls, composer: Composer, given: Mapping[str, Value]) -> "_Place":
        name = " with ".join([f"conf/{composer.door}.yaml", *as_overrides(given)])
        return cls(name, composer.composed(given), composer.choices(given))

    def check(self, dimension: Dimension) -> None:
        key = dimension.key
        if key in self.choices:
            _check_choices(dimension)
            return
        there = found(self.config, key)
        if there is MISSING or is_group(key):
            raise ConfigError(
                f"`{key}` is not a key of {self.name}.", fix=did_you_mean(key, self.keys())
            )
        if isinstance(there, dict | list):
            below = [name for name in self.keys() if name.startswith(f"{key}.")]
            raise ConfigError(
                f"`{key}` is not one value, and cannot be searched.",
                fix=f"search a key below it: {', '.join(below)}." if below else "leave it out.",
            )
        check_type(dimension, self.config, there)

    def keys(self) -> list[str]:
        """All that an override can name here."""
        dotted_keys = dotted(self.config, prefix="")
        named = [*self.choices, *(key for key in dotted_keys if not key.endswith("_target_"))]
        return list(dict.fromkeys(named))


def _check_choices(dimension: Dimension) -> None:
    group = dimension.key.partition("@")[0]
    if not isinstance(dimension, Choice):
        raise ConfigError(
            f"`{dimension.key}` chooses a file of conf/{group}, and is {dimension}.",
            fix="write choice(a, b, ...), or glob(*) for all of them.",
        )
    for option in dimension.options:
        if not isinstance(option, str) or not (CONF / group / f"{option}.yaml").is_file():
            raise no_choice(group, short(option))
