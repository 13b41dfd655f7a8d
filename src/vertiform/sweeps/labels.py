"""How a dimension and a value are called where room is short: in a table, a picture, a report."""

from collections.abc import Iterable, Mapping
from typing import Any


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return for each override key the shortest end of it that no other key shares.

    "optimizer.lr" is "lr"; beside "starts.domain.optimizer.lr" it stays "optimizer.lr", and the
    other is "domain.optimizer.lr".
    """
    parts = {key: key.split(".") for key in sorted(set(keys))}
    return {key: _short(key, parts) for key in parts}


def value_text(value: Any) -> str:
    """Write a dimension's value as an override would, a number to three significant digits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(str(value).split())


def parameters_text(params: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Write parameters in one line: "lr 0.0003, dropout 0.1"."""
    return ", ".join(f"{names[key]} {value_text(value)}" for key, value in params.items())


def _short(key: str, parts: Mapping[str, list[str]]) -> str:
    own = parts[key]
    for length in range(1, len(own)):
        if all(other[-length:] != own[-length:] for name, other in parts.items() if name != key):
            return ".".join(own[-length:])
    return key
