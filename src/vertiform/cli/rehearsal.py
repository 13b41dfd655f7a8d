"""Composes and builds what the trials of a search would, at every end of it; nothing is trained."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vertiform.cli.compose import instantiate
from vertiform.cli.composer import Composer, as_overrides, is_group
from vertiform.cli.search_values import MISSING, door_values, found
from vertiform.errors import ConfigError
from vertiform.sweeps.dimensions import Value
from vertiform.sweeps.space import Space

NOT_SEARCHED = ("trainer", "tracking")  # alike in every trial, and slow to import


def rehearse(
    space: Space, composer: Composer, current: Mapping[str, Value], *, start: str | None
) -> None:
    """Build the configuration as it is, every choice, and both ends of every number.

    Raises ConfigError for what our own classes refuse. Each end is tried beside the configuration
    as it is, not with every other end: what only a pair makes impossible fails in its trial.
    """
    built: set[str] = set()
    for values in (current, *_ends(space, current)):
        try:
            for section in _sections(_composed(composer, values), str(values.get("start", start))):
                text = json.dumps(section, sort_keys=True)
                if text not in built:
                    instantiate(section)
                    built.add(text)
        except ConfigError as error:
            changed = {k: v for k, v in values.items() if k not in current or current[k] != v}
            named = (
                f"A trial with {' '.join(as_overrides(changed))}" if changed else "The first trial"
            )
            raise ConfigError(f"{named} cannot train: {error.problem}", fix=error.fix) from error


def _ends(space: Space, current: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    for conditions, dimensions in space.places():
        for dimension in dimensions:
            for end in dimension.ends():
                yield space.completed({**current, **conditions, dimension.key: end})


def _composed(composer: Composer, values: Mapping[str, Value]) -> dict[str, Any]:
    given = door_values(values)
    try:
        return composer.composed(given)
    except ConfigError:
        _refuse_missing(composer, given)
        raise


def _refuse_missing(composer: Composer, given: Mapping[str, Value]) -> None:
    """Raise ConfigError for a key that the choices of a trial do not have, though others do."""
    groups = {key: value for key, value in given.items() if is_group(key)}
    config = composer.composed(groups)
    for key in given:
        if key not in groups and found(config, key) is MISSING:
            raise ConfigError(
                f"{' '.join(as_overrides(groups))} has no `{key}`.",
                fix=f"move `{key}` from `space` to the branch of a choice that has it.",
            )


def _sections(config: Mapping[str, Any], start: str) -> Iterator[dict[str, Any]]:
    """What is built of a configuration: of the starts, the one that is trained."""
    for name, section in config.items():
        if name == "starts":
            yield section[start]
        elif isinstance(section, dict) and "_target_" in section and name not in NOT_SEARCHED:
            yield section
