"""What a sweep is doing, live: a table that a terminal redraws, a line now and then in a log."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean
from typing import TextIO

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from vertiform.evaluation.comparison import number_shown
from vertiform.evaluation.tables import text_table
from vertiform.progress import duration
from vertiform.sweeps.best import best_of, values_of
from vertiform.sweeps.labels import parameters_text, short_names

SECONDS_BETWEEN_LOG_LINES = 5.0  # at least, and only where something has changed
SECONDS_OF_SILENCE = 60.0  # in a log at most: a reader sees that the sweep is alive
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_NUM_BEST_SHOWN = 3  # of the Pareto-optimal trials
_MORE = "..."


@dataclass(frozen=True, slots=True)
class Watched:
    """What does not change while a table is open."""

    title: str  # what the trials are of
    n_trials: int  # in all, with those of earlier calls
    objectives: tuple[str, ...]  # their names, in the study's order
    directions: tuple[StudyDirection, ...]
    opened: datetime  # local time, as Optuna's own


@dataclass
class Table:
    """Shows the trials of a sweep on `out`; call show() with all of them as often as you like."""

    out: TextIO
    sweep: Watched
    _num_lines: int = field(default=0, init=False)  # of the table that stands in the terminal
    _last_line: str = field(default="", init=False)
    _last_at: datetime | None = field(default=None, init=False)

    def show(self, trials: Sequence[FrozenTrial], *, now: datetime | None = None) -> None:
        """Draw the table anew, or write a line if there is something to say and it is time."""
        now = now or datetime.now()
        if self._is_redrawn():
            self._draw(trials, now)
            return
        line = log_line(trials, self.sweep, now=now)
        silent = (now - self._last_at).total_seconds() if self._last_at else SECONDS_OF_SILENCE
        is_news = _without_time(line) != _without_time(self._last_line)
        if silent >= (SECONDS_BETWEEN_LOG_LINES if is_news else SECONDS_OF_SILENCE):
            self._write_line(line, now)

    def say(self, text: str) -> None:
        """Write a line that stays: above the table in a terminal, on its own in a log."""
        self.out.write(f"{self._up()}\x1b[J{text}\n" if self._is_redrawn() else f"{text}\n")
        self.out.flush()
        self._num_lines = 0

    def close(self, trials: Sequence[FrozenTrial], *, now: datetime | None = None) -> None:
        """Leave the last state standing; what is written next begins below it."""
        now = now or datetime.now()
        if self._is_redrawn():
            self._draw(trials, now)
        elif (line := log_line(trials, self.sweep, now=now)) != self._last_line:
            self._write_line(line, now)
        self._num_lines = 0

    def _draw(self, trials: Sequence[FrozenTrial], now: datetime) -> None:
        size = shutil.get_terminal_size()
        # One column and one line stay free: writing into the last one scrolls some terminals.
        lines = lines_of(trials, self.sweep, now=now, width=size.columns - 1, height=size.lines - 1)
        # In one write, each line over the old one: nothing is ever blank, so nothing flickers.
        drawn = "".join(f"{line}\x1b[K\n" for line in lines)
        self.out.write(f"{self._up()}{drawn}\x1b[J")
        self.out.flush()
        self._num_lines = len(lines)

    def _up(self) -> str:
        return f"\x1b[{self._num_lines}F" if self._num_lines else ""

    def _write_line(self, line: str, now: datetime) -> None:
        self.out.write(f"{line}\n")
        self.out.flush()
        self._last_line, self._last_at = line, now

    def _is_redrawn(self) -> bool:
        return self.out.isatty() and os.environ.get("TERM") != "dumb"


def lines_of(
    trials: Sequence[FrozenTrial], sweep: Watched, *, now: datetime, width: int, height: int
) -> list[str]:
    """Write the table: what there is so far, the best of it, and the trials that run now.

    No line is longer than `width` characters; there are at most `height` lines, or three.
    """
    names = short_names(key for trial in trials for key in trial.params)
    lines = [
        f"{sweep.title}: {_counts(trials, sweep, now)}",
        f"Best:  {_best(trials, sweep, names)}",
    ]
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    num_shown = len(running) if len(running) + 4 <= height else max(0, height - 5)
    if num_shown:
        rows = [_row(trial, sweep, names, now) for trial in running[:num_shown]]
        header = ["trial", "runs for", "step", sweep.objectives[0], "parameters"]
        lines += text_table(header, rows).splitlines()
    if num_shown < len(running):
        lines.append(f"and {len(running) - num_shown} more that run")
    return [_cut(line, width) for line in lines]


def log_line(trials: Sequence[FrozenTrial], sweep: Watched, *, now: datetime) -> str:
    """Write the same in one line for a log, without the trials that run."""
    names = short_names(key for trial in trials for key in trial.params)
    return f"{_counts(trials, sweep, now)}; best: {_best(trials, sweep, names)}"


def seconds_left(trials: Sequence[FrozenTrial], sweep: Watched, *, now: datetime) -> float | None:
    """Return about how long the sweep still takes with as many running as now; None: not known.

    A trial is taken to last as long as the mean of those that began and ended since the table was
    opened; where none has, of all: one that was taken up again counts the time between.
    """
    ended = [trial for trial in trials if trial.state in _FINISHED and trial.duration is not None]
    recent = [t for t in ended if t.datetime_start and t.datetime_start >= sweep.opened]
    lasted = [t.duration.total_seconds() for t in recent or ended if t.duration is not None]
    if not lasted:
        return None
    mean = fmean(lasted)
    running = [t for t in trials if t.state is TrialState.RUNNING]
    rests = [max(0.0, mean - _age(trial, now).total_seconds()) for trial in running]
    num_waiting = max(0, sweep.n_trials - len(running) - _num_finished(trials))
    shared = (sum(rests) + num_waiting * mean) / max(1, len(running))
    return max(shared, *rests, 0.0)


def _counts(trials: Sequence[FrozenTrial], sweep: Watched, now: datetime) -> str:
    count = Counter(trial.state for trial in trials)
    shown = (
        f"{_num_finished(trials)} of {sweep.n_trials} trials; {count[TrialState.RUNNING]} running, "
        f"{count[TrialState.COMPLETE]} done, {count[TrialState.PRUNED]} pruned, "
        f"{count[TrialState.FAIL]} failed"
    )
    left = seconds_left(trials, sweep, now=now)
    if left is None or left < 1 or _num_finished(trials) >= sweep.n_trials:
        return shown
    return f"{shown}; about {duration(left)} left"


def _best(trials: Sequence[FrozenTrial], sweep: Watched, names: dict[str, str]) -> str:
    found = best_of(trials, sweep.directions)
    if not found:
        return "none yet"
    if len(sweep.objectives) == 1:
        parameters = parameters_text(found[0].params, names)
        return f"trial {found[0].number}, {_values(found[0], sweep)}" + (
            f"; {parameters}" if parameters else ""
        )
    shown = [f"trial {t.number} ({_values(t, sweep)})" for t in found[:_NUM_BEST_SHOWN]]
    others = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {others} more that none beats" if others else "")


def _values(trial: FrozenTrial, sweep: Watched) -> str:
    pairs = zip(sweep.objectives, values_of(trial), strict=True)
    return ", ".join(f"{name} {number_shown(value)}" for name, value in pairs)


def _row(trial: FrozenTrial, sweep: Watched, names: dict[str, str], now: datetime) -> list[str]:
    heard = trial.intermediate_values
    step = max(heard) if heard else None
    return [
        str(trial.number),
        duration(_age(trial, now).total_seconds()),
        "-" if step is None else f"{step:,}",
        "-" if step is None else number_shown(heard[step]),
        parameters_text(trial.params, names),
    ]


def _num_finished(trials: Sequence[FrozenTrial]) -> int:
    return sum(trial.state in _FINISHED for trial in trials)


def _age(trial: FrozenTrial, now: datetime) -> timedelta:
    return now - (trial.datetime_start or now)


def _without_time(line: str) -> str:
    """A line of the log without the time left, which changes always and is no news."""
    return "; ".join(part for part in line.split("; ") if not part.startswith("about "))


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: max(0, width - len(_MORE))] + _MORE[:width]
