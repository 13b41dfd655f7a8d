import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tests.sweeps.studies import pruned_study, study_of_several, trial_of
from vertiform.sweeps.best import best_of

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
DONE = TrialState.COMPLETE


def test_the_best_trial_is_the_one_that_the_study_names():
    study = pruned_study()
    assert [trial.number for trial in best_of(study.trials, study.directions)] == [
        study.best_trial.number
    ]


@pytest.mark.parametrize("n_objectives", [2, 3])
def test_the_best_of_several_objectives_are_the_studys_pareto_front(n_objectives):
    study = study_of_several(n_objectives)
    found = [trial.number for trial in best_of(study.trials, study.directions)]
    assert found == sorted(trial.number for trial in study.best_trials)
    assert 1 < len(found) < len(study.trials)


def test_of_equals_the_first_is_best_and_a_front_keeps_all():
    trials = [trial_of(2, DONE, 0.5), trial_of(1, DONE, 0.5)]
    assert [t.number for t in best_of(trials, [UP])] == [1]
    both = [trial_of(2, DONE, 0.5, 3.0), trial_of(1, DONE, 0.5, 3.0), trial_of(0, DONE, 0.5, 4.0)]
    assert [t.number for t in best_of(both, [UP, DOWN])] == [1, 2]


def test_a_pruned_or_failed_trial_is_never_best():
    trials = [trial_of(0, TrialState.PRUNED, 0.9), trial_of(1, TrialState.FAIL)]
    assert best_of(trials, [UP]) == []
