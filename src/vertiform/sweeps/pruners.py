"""Which trials go no further: a pruner for trials that validate at different steps."""

from collections.abc import Iterable, Iterator

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState


class BestSoFarPruner(BasePruner):
    """Stops a trial whose best value so far is not among the better ones that others had by then.

    The median stopping rule of Google Vizier (Golovin et al. 2017, section 3.2.2), with the best
    value up to a step in place of the running average, which blames a trial for how it began.
    Optuna's MedianPruner compares values of the very same step: trials with other sizes of batch
    validate at other steps, so that it finds few of them. And it knows those alone that ran to
    their end; here one that was pruned, or still runs, counts as far as it came.

    A trial is asked about when its validations have doubled, as in successive halving (Li et al.
    2020): who is asked at each of many is out by chance in the end.
    """

    def __init__(
        self, *, n_startup_trials: int, first_validation: int, keeps_fraction: float
    ) -> None:
        """Stop no trial before `n_startup_trials` have run to their end.

        first_validation: of a trial, at which it may be stopped; then at twice as many, and so on.
        keeps_fraction:   that a trial must be among to go on; 0.5 is the median rule.
        """
        self._n_startup_trials = n_startup_trials
        self._first_validation = first_validation
        self._keeps_fraction = keeps_fraction

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether the trial, whose last value was just told, should end."""
        step = trial.last_step
        if step is None or not self._is_asked(len(trial.intermediate_values)):
            return False
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        if sum(t.state == TrialState.COMPLETE for t in others) < self._n_startup_trials:
            return False
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        theirs = list(_best_up_to(step, others, sign=sign))
        if not theirs:
            return False
        least = np.quantile(theirs, 1.0 - self._keeps_fraction)
        return bool(_best(trial, step, sign=sign) < least)

    def _is_asked(self, validations: int) -> bool:
        doubled, rest = divmod(validations, self._first_validation)
        return rest == 0 and doubled.bit_count() == 1


def _best_up_to(step: int, trials: Iterable[FrozenTrial], *, sign: float) -> Iterator[float]:
    """The best values up to a step of the trials that reached it, or ran to their end before."""
    for trial in trials:
        last = trial.last_step
        if last is not None and (last >= step or trial.state == TrialState.COMPLETE):
            best = _best(trial, step, sign=sign)
            if np.isfinite(best):
                yield best


def _best(trial: FrozenTrial, step: int, *, sign: float) -> float:
    """The best value up to a step, turned so that more is better; -inf where there is none."""
    heard = [sign * value for at, value in trial.intermediate_values.items() if at <= step]
    return max((value for value in heard if not np.isnan(value)), default=-np.inf)
