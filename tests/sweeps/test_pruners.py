"""Which trials go on, with studies in memory whose trials validate at steps of their own."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from vertiform.sweeps.pruners import BestSoFarPruner


def study_of(*, direction="maximize", n_startup_trials=1, first_validation=1, keeps=0.5):
    pruner = BestSoFarPruner(
        n_startup_trials=n_startup_trials,
        first_validation=first_validation,
        keeps_fraction=keeps,
    )
    return optuna.create_study(direction=direction, pruner=pruner)


def heard(study, values):
    """A trial that has told these values, by their steps."""
    trial = study.ask()
    for step, value in values.items():
        trial.report(value, step)
    return trial


def ended(study, values, *, state=TrialState.COMPLETE):
    trial = heard(study, values)
    last = list(values.values())[-1]
    study.tell(trial, last if state == TrialState.COMPLETE else None, state)


def test_a_trial_below_the_median_is_stopped_and_one_above_goes_on():
    study = study_of()
    for best in (0.2, 0.4, 0.6):
        ended(study, {10: best})
    assert heard(study, {10: 0.39}).should_prune()
    assert not heard(study, {10: 0.41}).should_prune()


def test_where_less_is_better_a_trial_above_the_median_is_stopped():
    study = study_of(direction="minimize")
    for best in (0.2, 0.4, 0.6):
        ended(study, {10: best})
    assert heard(study, {10: 0.41}).should_prune()
    assert not heard(study, {10: 0.39}).should_prune()


def test_trials_that_validate_at_other_steps_are_compared():
    study = study_of()
    ended(study, {12: 0.2, 24: 0.5, 36: 0.9})
    assert heard(study, {30: 0.4}).should_prune()  # there the other had 0.5
    assert not heard(study, {23: 0.4}).should_prune()  # there it had 0.2 still
    by_optuna = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    trial = heard(study, {30: 0.4})
    assert not by_optuna.prune(study, study.get_trials()[trial.number])


def test_what_counts_is_the_best_so_far_not_the_last():
    study = study_of()
    ended(study, {10: 0.5, 20: 0.4})
    assert not heard(study, {10: 0.6, 20: 0.1}).should_prune()
    assert heard(study, {10: 0.1, 20: 0.45}).should_prune()


def test_a_trial_that_was_stopped_counts_as_far_as_it_came():
    study = study_of(keeps=0.34)
    ended(study, {10: 0.3, 20: 0.9})
    ended(study, {10: 0.5}, state=TrialState.PRUNED)
    assert heard(study, {10: 0.4}).should_prune()  # of 0.3 and 0.5
    assert not heard(study, {10: 0.5, 20: 0.9}).should_prune()  # of 0.9 alone


def test_a_trial_that_ran_to_its_end_counts_behind_it():
    study = study_of()
    ended(study, {10: 0.5})
    assert not heard(study, {10: 0.5, 20: 0.5}).should_prune()
    assert heard(study, {20: 0.4}).should_prune()


def test_nothing_is_stopped_before_enough_trials_have_ended_well():
    study = study_of(n_startup_trials=2)
    ended(study, {10: 0.5})
    ended(study, {10: 0.5}, state=TrialState.FAIL)
    assert not heard(study, {10: 0.1}).should_prune()
    ended(study, {10: 0.5})
    assert heard(study, {10: 0.1}).should_prune()


def test_a_trial_is_asked_about_when_its_validations_have_doubled():
    study = study_of(first_validation=2)
    ended(study, dict.fromkeys(range(1, 13), 0.5))
    asked = {
        validations: heard(study, dict.fromkeys(range(1, validations + 1), 0.1)).should_prune()
        for validations in range(1, 13)
    }
    assert [validations for validations, is_stopped in asked.items() if is_stopped] == [2, 4, 8]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_trial_that_told_no_number_is_stopped_and_is_nobodys_measure(direction):
    study = study_of(direction=direction)
    ended(study, {10: 0.5})
    assert heard(study, {10: math.nan}).should_prune()
    assert not heard(study, {10: 0.5}).should_prune()
