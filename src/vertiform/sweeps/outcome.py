"""What came of a sweep, as plain facts: what reports and runs are written from."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from vertiform.sweeps.best import best_of, values_of
from vertiform.sweeps.dimensions import Value
from vertiform.sweeps.labels import value_text
from vertiform.sweeps.space import Space


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A trial: what it was given, by override key, and what it came to."""

    number: int
    settings: Mapping[str, Value]
    values: tuple[float, ...]  # one for each objective; empty where it did not end well


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Runs over the same fresh seeds; the value of each that ended well, of the first objective."""

    seeds: tuple[int, ...]
    best: tuple[float, ...]
    base: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A sweep so far. Reports say of one that is not complete that it is not."""

    name: str  # of the study
    objectives: tuple[str, ...]
    is_lower_better: tuple[bool, ...]
    space: tuple[tuple[str, str], ...]  # a dimension, and what it could be, as people read them
    n_trials: int  # that there are to be in all
    num_done: int
    num_pruned: int
    num_failed: int
    num_steps: int  # of the optimiser, of all trials together; 0 where nobody counted
    failures: Mapping[str, tuple[int, ...]]  # a reason, and the numbers of its trials
    base: Tried | None  # the configuration as it was: the first trial, once there is one
    best: tuple[Tried, ...]  # one, or those that no other beats; none where none ended well
    confirmation: Confirmation | None

    @property
    def num_ended(self) -> int:
        """How many trials have ended, in whatever way."""
        return self.num_done + self.num_pruned + self.num_failed


def outcome_of(
    trials: Sequence[FrozenTrial],
    *,
    name: str,
    space: Space,
    objectives: Sequence[str],
    directions: Sequence[StudyDirection],
    n_trials: int,
    reason_of: Callable[[FrozenTrial], str],
    steps_of: Callable[[FrozenTrial], int] | None = None,
    confirmation: Confirmation | None = None,
) -> Outcome:
    """Gather what came of a study's trials.

    reason_of: why a trial failed.
    steps_of:  how many steps a trial trained; by default those to the last value it told.
    """
    counts = Counter(trial.state for trial in trials)
    first = next((trial for trial in trials if trial.number == 0), None)
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    return Outcome(
        name=name,
        objectives=tuple(objectives),
        is_lower_better=tuple(way is StudyDirection.MINIMIZE for way in directions),
        space=tuple(_rows_of(space)),
        n_trials=n_trials,
        num_done=counts[TrialState.COMPLETE],
        num_pruned=counts[TrialState.PRUNED],
        num_failed=counts[TrialState.FAIL],
        num_steps=sum(map(steps_of or last_step, trials)),
        failures=_by_reason(failed, reason_of),
        base=None if first is None else _tried(first, space),
        best=tuple(_tried(trial, space) for trial in best_of(trials, directions)),
        confirmation=confirmation,
    )


def last_step(trial: FrozenTrial) -> int:
    """The step at which a trial last told a value; 0 where it told none."""
    return max(trial.intermediate_values, default=0)


def _tried(trial: FrozenTrial, space: Space) -> Tried:
    has_ended_well = trial.state is TrialState.COMPLETE
    return Tried(
        number=trial.number,
        settings=space.values(trial.params),
        values=tuple(values_of(trial)) if has_ended_well else (),
    )


def _rows_of(space: Space) -> Iterator[tuple[str, str]]:
    for conditions, dimensions in space.places():
        where = " and ".join(f"{key}={value_text(value)}" for key, value in conditions.items())
        for dimension in dimensions:
            yield dimension.key, f"{dimension}{f'; where {where}' if where else ''}"


def _by_reason(
    failed: Sequence[FrozenTrial], reason_of: Callable[[FrozenTrial], str]
) -> dict[str, tuple[int, ...]]:
    """The trials of each reason, the most frequent first."""
    numbers: dict[str, tuple[int, ...]] = {}
    for trial in failed:
        reason = reason_of(trial)
        numbers[reason] = (*numbers.get(reason, ()), trial.number)
    return dict(sorted(numbers.items(), key=lambda item: -len(item[1])))
