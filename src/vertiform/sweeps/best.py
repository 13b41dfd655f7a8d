"""Which trials are best: one of one objective, those that no other beats of several."""

from collections.abc import Iterable, Sequence

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


def best_of(
    trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Return the best trial that ran to its end, or the Pareto-optimal ones, by number.

    Of trials that are equal in a single objective the first is the best; of several all are. The
    list is empty where no trial has ended well.
    """
    ended = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    losses = {trial.number: _losses(trial, directions) for trial in ended}
    if len(directions) == 1:
        return sorted(ended, key=lambda trial: (losses[trial.number], trial.number))[:1]
    front: list[FrozenTrial] = []
    # In this order whatever beats a trial comes before it, so the front so far is enough.
    for trial in sorted(ended, key=lambda trial: losses[trial.number]):
        if not any(_beats(losses[other.number], losses[trial.number]) for other in front):
            front.append(trial)
    return sorted(front, key=lambda trial: trial.number)


def values_of(trial: FrozenTrial) -> list[float]:
    """Return the objectives of a trial that ran to its end."""
    assert trial.values is not None, f"trial {trial.number} has not ended well"
    return trial.values


def _losses(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> tuple[float, ...]:
    """The trial's values, turned so that less is better."""
    return tuple(
        -value if direction is StudyDirection.MAXIMIZE else value
        for value, direction in zip(values_of(trial), directions, strict=True)
    )


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Say whether `one` is nowhere worse and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
