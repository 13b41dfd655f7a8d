"""What the gates decided: a row for each, with every figure it was decided from."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from vertiform.evaluation.tables import markdown_table, text_table

_HEADER = ("gate", "threshold", "measured", "interval", "verdict", "reason")


@dataclass(frozen=True, slots=True)
class GateRow:
    """One decision. `measured` is None where there was nothing to measure; `reason` says why.

    Where that was evidence that is missing, it never passes.
    """

    gate: str  # its key in conf/gates, and what it looked at: "floors test/f1_macro"
    threshold: float | None
    measured: float | None
    interval: tuple[float, float] | None
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one model and one alias."""

    alias: str
    rows: tuple[GateRow, ...]

    @property
    def passed(self) -> bool:
        """Whether the alias may move: every gate passed, and there was at least one."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    @property
    def refusals(self) -> tuple[GateRow, ...]:
        """The gates that said no."""
        return tuple(row for row in self.rows if not row.passed)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, `passed` included."""
        return {
            "alias": self.alias,
            "passed": self.passed,
            "rows": [
                {
                    **asdict(row),
                    "measured": _finite(row.measured),
                    "interval": list(row.interval) if row.interval else None,
                }
                for row in self.rows
            ],
        }


def verdict_table(verdict: Verdict, *, as_markdown: bool = False) -> str:
    """Write the verdict's rows as a table, the sum of them below it."""
    rows = [
        [
            row.gate,
            _figure(row.threshold),
            _figure(row.measured),
            f"{_figure(row.interval[0])} to {_figure(row.interval[1])}" if row.interval else "-",
            "pass" if row.passed else "FAIL",
            row.reason,
        ]
        for row in verdict.rows
    ]
    table = markdown_table(_HEADER, rows) if as_markdown else text_table(_HEADER, rows)
    return f"{table}\n\n{_sum_of(verdict)}"


def _sum_of(verdict: Verdict) -> str:
    if verdict.passed:
        return f"All {len(verdict.rows)} gates of `{verdict.alias}` passed."
    number = len(verdict.refusals)
    return f"{number} of {len(verdict.rows)} gates of `{verdict.alias}` said no; it does not move."


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # NaN is not JSON


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if math.isfinite(value) and value == int(value):
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}"
