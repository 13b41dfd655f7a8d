"""One way to show how far a long loop is, and how long one took: a bar, or a line in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BEFORE_FIRST_LINE = 2.0  # shorter loops stay silent
SECONDS_BETWEEN_LOG_LINES = 5.0

T = TypeVar("T")


def progress(items: Iterable[T], *, what: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, showing `what`, the rate in `unit` per second and the time left on stderr."""
    in_terminal = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=what,
        unit=f" {unit}",
        total=total,
        delay=SECONDS_BEFORE_FIRST_LINE,
        mininterval=0.2 if in_terminal else SECONDS_BETWEEN_LOG_LINES,
        ascii=True,
        leave=False,
        dynamic_ncols=in_terminal,
        file=sys.stderr if in_terminal else _LineLog(),
    )


def duration(seconds: float) -> str:
    """Write a duration as people say it: "42 s", "3:07 min", "2:05 h", "3.4 days"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86_400:
        return f"{whole // 3600}:{whole % 3600 // 60:02} h"
    return f"{whole / 86_400:.1f} days"


class _LineLog:
    """Turns tqdm's carriage returns into lines, so that a log file stays readable."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            print(line, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
