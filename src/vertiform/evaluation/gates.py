"""Gates decide, from evidence alone, whether an alias may move to a model.

A gate is one function, in score_gates.py or model_gates.py, and one key in conf/gates/<alias>.yaml.
The key is the function's name; the options under it are the function's keyword-only parameters,
each required, so that every threshold stands in the file; `**bounds` stands for scores, of which a
gate takes those that fit the task's kind. A gate whose evidence is missing fails and says what is
missing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from vertiform.errors import ConfigError, did_you_mean

# Imported for what they add to GATES.
from vertiform.evaluation import model_gates, score_gates  # noqa: F401
from vertiform.evaluation.evidence import Evidence
from vertiform.evaluation.gate import GATES, Gate
from vertiform.evaluation.verdict import Verdict

_IN_WORDS = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Gates:
    """The gates of an alias, by name, with their options. `read_gates` makes one and checks it."""

    alias: str
    options: Mapping[str, Mapping[str, Any]]


def read_gates(values: Mapping[str, Any], *, alias: str) -> Gates:
    """Check the gates of conf/gates/<alias>.yaml, as plain values.

    Raises ConfigError for a gate or an option that is unknown, missing or of the wrong type.
    """
    where = f"conf/gates/{alias}.yaml"
    if not values:
        raise ConfigError(
            f"{where} has no gates, so nothing could ever earn `{alias}`.",
            fix=f"name at least one of: {', '.join(sorted(GATES))}.",
        )
    for name, options in values.items():
        if name not in GATES:
            raise ConfigError(f"{where} has no gate `{name}`.", fix=did_you_mean(name, GATES))
        _check_options(GATES[name], options, where=f"{where}: {name}")
    return Gates(alias=alias, options={name: dict(options) for name, options in values.items()})


def decide(gates: Gates, evidence: Evidence) -> Verdict:
    """Ask every gate, in the order of the file."""
    rows = (
        row
        for name, options in gates.options.items()
        for row in GATES[name].function(evidence, **options)
    )
    return Verdict(alias=gates.alias, rows=tuple(rows))


def _check_options(gate: Gate, options: Any, *, where: str) -> None:
    known = dict.fromkeys(gate.bounded, float) | gate.options
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"{where} must be a mapping, not {options!r}.",
            fix=f"write `key: value` below it, of: {', '.join(known)}; or remove the gate.",
        )
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f"{where} does not know `{option}`.", fix=did_you_mean(option, known))
        _check_type(value, known[option], where=f"{where}.{option}")
    for option, wanted in gate.options.items():
        if option not in options:
            raise ConfigError(
                f"{where} needs `{option}`.",
                fix=f"write `{option}: <{_in_words(wanted)}>` below it.",
            )
    if gate.bounded and not any(score in options for score in gate.bounded):
        raise ConfigError(
            f"{where} needs a score.", fix=f"write `{gate.bounded[0]}: <a number>` below it."
        )


def _check_type(value: Any, wanted: Any, *, where: str) -> None:
    choices = get_args(wanted)  # of a Literal
    if choices:
        is_right = value in choices
    elif wanted is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_right = is_number and not math.isnan(value)
    else:
        is_right = type(value) is wanted
    if not is_right:
        raise ConfigError(f"{where} is {value!r}.", fix=f"write {_in_words(wanted)} there.")


def _in_words(wanted: Any) -> str:
    return " or ".join(map(str, get_args(wanted))) or _IN_WORDS[wanted]
