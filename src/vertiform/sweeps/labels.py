"""How a dimension and a value are called where room is short: in a table, a picture, a report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MOST_DIGITS = 6  # after the point
_NARROWEST = 1e-12  # of intervals: what is left of rounding


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return for each override key the shortest end of it that no other key shares.

    "optimizer.lr" is "lr"; beside "starts.domain.optimizer.lr" it stays "optimizer.lr", and the
    other is "domain.optimizer.lr". A key of a branch, as a space names it for Optuna, keeps its
    branch: "optimizer.lr (optimizer=muon)" is "lr (optimizer=muon)".
    """
    distinct = sorted(set(keys))
    return {key: _short(key, distinct) for key in distinct}


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


def digits_after_the_point(low: float, high: float) -> int:
    """As many as show two of the width of an interval; no digit shown is then mere noise."""
    digits = 1 - math.floor(math.log10(max(high - low, _NARROWEST) / 2))
    return min(max(digits, 1), _MOST_DIGITS)


def _short(key: str, keys: Sequence[str]) -> str:
    for length in range(1, key.count(".") + 1):
        if all(_end(other, length) != _end(key, length) for other in keys if other != key):
            return _end(key, length)
    return key


def _end(key: str, length: int) -> str:
    """The last `length` parts of a key, with its branch if it has one."""
    own, _, branch = key.partition(" (")
    end = ".".join(own.split(".")[-length:])
    name, _, value = branch.partition("=")
    return f"{end} ({name.rpartition('.')[2]}={value}" if branch else end
