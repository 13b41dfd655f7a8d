"""What may stand at a key that is searched, and what stands there now."""

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from vertiform.cli.compose import ALLOWED_TARGETS
from vertiform.cli.composer import Composer, as_overrides
from vertiform.errors import ConfigError
from vertiform.sweeps.dimensions import Dimension, Float, Int, Value, short
from vertiform.sweeps.space import Space

START = "start"  # the one key of conf/sweep.yaml that may be searched, in fine-tuning
KINDS = {bool: "true and false", int: "whole numbers", float: "numbers", str: "words"}


class _Missing:
    """No value, not even null."""


MISSING = _Missing()


def found(config: Mapping[str, Any], key: str) -> Any:
    """What `config` has at a dotted key, or MISSING."""
    at: Any = config
    for part in key.split("."):
        if not isinstance(at, Mapping) or part not in at:
            return MISSING
        at = at[part]
    return at


def door_values(values: Mapping[str, Value]) -> dict[str, Value]:
    """`values` without the start, which the sweep chooses and the door does not know."""
    return {key: value for key, value in values.items() if key != START}


def current_values(space: Space, composer: Composer, *, start: str | None) -> dict[str, Value]:
    """The value that every dimension has in the configuration as it is.

    Raises ConfigError where that is none of its dimension's: it would not be the first trial.
    """
    config, choices = composer.composed({}), composer.choices({})
    above = choices | {START: start}

    def current(_: str, dimension: Dimension) -> Value:
        key = dimension.key
        return _within(dimension, above[key] if key in above else found(config, key))

    return space.filled(current)


def _within(dimension: Dimension, value: Value) -> Value:
    key = dimension.key
    if not dimension.holds(value):
        (within,) = as_overrides({key: dimension.ends()[0]})
        raise ConfigError(
            f"`{key}` is {dimension}, and {short(value)} in the configuration as it is, which is "
            "the first trial.",
            fix=f"let the search hold {short(value)}, or give a value within, such as {within}.",
        )
    return dimension.value_of(value)  # 0.0 for a 0, as storages keep it: one trial, one identity


def check_type(dimension: Dimension, config: Mapping[str, Any], there: Value) -> None:
    """Raise ConfigError for a value of a type that the key of `config` does not take."""
    types = _types(config, dimension.key, there)
    for value in dimension.ends():
        if type(value) in types or (isinstance(value, int) and _takes_numbers(value, types)):
            continue
        wanted = " or ".join(KINDS.get(kind, "null") for kind in types)
        fix = f"give it {wanted} alone."
        if isinstance(dimension, Float) and int in types:
            low, high = int(dimension.low), int(dimension.high)
            fix = f"write int(interval({low}, {high})) or range({low}, {high + 1})."
        raise ConfigError(
            f"`{dimension.key}` takes {wanted}, and is {_of_kind(dimension, value)}.", fix=fix
        )


def _takes_numbers(value: Value, types: tuple[type, ...]) -> bool:
    return float in types and not isinstance(value, bool)


def _of_kind(dimension: Dimension, value: Value) -> str:
    if isinstance(dimension, Float):
        return f"an interval of fractions, {dimension}"
    return (
        str(dimension) if isinstance(dimension, Int) else f"{dimension}: `{short(value)}` is none"
    )


def _types(config: Mapping[str, Any], key: str, there: Value) -> tuple[type, ...]:
    """What may stand at a key: as the class says that is built from it, or like what is there."""
    parent, _, name = key.rpartition(".")
    section = found(config, parent) if parent else {}
    target = str(section.get("_target_"))
    if target.startswith(ALLOWED_TARGETS):
        hint = _hint(target, name)
        types = get_args(hint) or (hint,)
        if all(kind in (*KINDS, type(None)) for kind in types):
            return types
    return (type(there),) if there is not None else (*KINDS, type(None))


def _hint(target: str, name: str) -> Any:
    from hydra.utils import get_class

    return get_type_hints(get_class(target)).get(name)
