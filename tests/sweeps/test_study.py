"""A study: who is next, what is left after deaths, and that one that goes on draws the same."""

import pytest
from optuna.trial import TrialState

from tests.sweeps.studies import AS_IT_IS, SAMPLERS, opened, study_in
from vertiform.errors import ConfigError
from vertiform.sweeps.study import MOST_DEATHS, Study


def trial_of(study: Study):
    trial = study.next_trial()
    assert trial is not None
    return trial


def run(study: Study, *, at_most: int = 1000) -> list[dict]:
    """Run trials to their end; what each was given."""
    given = []
    while len(given) < at_most and (trial := study.next_trial()) is not None:
        trial.report(trial.values["x"], step=1)
        study.tell(trial, [trial.values["x"]])
        given.append(trial.values)
    return given


def states(study: Study) -> list[TrialState]:
    return [trial.state for trial in study.trials()]


def test_the_first_trial_is_the_configuration_as_it_is(tmp_path):
    trial = trial_of(study_in(tmp_path))
    assert (trial.number, trial.values) == (0, AS_IT_IS)


def test_n_trials_are_those_of_all_calls_and_workers_together(tmp_path):
    one, other = study_in(tmp_path), study_in(tmp_path)
    held = [trial_of(study) for study in (one, other, one)]
    assert [trial.number for trial in held] == [0, 1, 2]
    assert one.next_trial() is None
    assert other.next_trial() is None
    assert not other.has_work()
    assert not one.is_complete()
    for trial, study in zip(held, (one, other, one), strict=True):
        study.tell(trial, [0.0])
    assert one.is_complete()
    assert study_in(tmp_path).next_trial() is None
    assert len(run(study_in(tmp_path, n_trials=5))) == 2


def test_a_study_that_goes_on_draws_what_one_that_was_not_stopped_draws(tmp_path):
    for sampler in SAMPLERS:
        whole = run(study_in(tmp_path / f"{sampler}-whole", sampler=sampler, n_trials=8))
        stopped = []
        while len(stopped) < 8:
            study = study_in(tmp_path / sampler, sampler=sampler, n_trials=8)
            stopped += run(study, at_most=3)
            study.close()
        assert stopped == whole
        assert len({values["x"] for values in whole}) == 8


def test_a_trial_whose_worker_died_is_the_next_ones_before_any_other(tmp_path):
    dead, living = study_in(tmp_path), study_in(tmp_path)
    lost = trial_of(dead)
    lost.report(0.3, step=1)
    lost.note("journal", "run-1")
    assert trial_of(living).number == 1
    dead.close()
    found = trial_of(living)
    assert (found.number, found.values) == (lost.number, lost.values)
    assert found.notes["journal"] == "run-1"
    assert len(living.trials()) == 2


def test_a_step_that_is_told_again_keeps_its_first_value(tmp_path):
    study = study_in(tmp_path)
    trial = trial_of(study)
    for value in (0.3, 0.4):
        trial.report(value, step=1)
    assert study.trials()[0].intermediate_values == {1: 0.3}


def test_a_trial_that_kills_its_workers_is_given_up_with_a_reason(tmp_path):
    for _ in range(MOST_DEATHS):
        worker = study_in(tmp_path)
        assert trial_of(worker).number == 0
        worker.close()
    left = study_in(tmp_path)
    assert trial_of(left).number == 1
    assert states(left)[0] == TrialState.FAIL
    assert left.reasons() == ["trial 0: 3 workers in a row died of it, as for want of memory"]


def test_workers_that_were_asked_to_end_do_not_count_as_dead(tmp_path):
    for _ in range(MOST_DEATHS + 1):
        worker = study_in(tmp_path)
        worker.give_back(trial_of(worker))
        worker.close()
    assert trial_of(study_in(tmp_path)).number == 0


def test_a_trial_that_gets_further_is_not_given_up(tmp_path):
    for step in range(MOST_DEATHS + 2):
        worker = study_in(tmp_path)
        trial = trial_of(worker)
        trial.report(0.1, step=step)
        worker.close()
        assert trial.number == 0


def test_a_trial_that_was_lost_to_another_is_told_by_that_one(tmp_path, caplog):
    paused, other = study_in(tmp_path), study_in(tmp_path)
    trial = trial_of(paused)
    with paused._claims.turn():
        paused._claims.drop(trial.id)  # as a heartbeat that is too old does
    taken = trial_of(other)
    assert taken.number == trial.number
    paused.tell_failed(trial, "it was paused")
    assert states(other)[0] == TrialState.RUNNING
    assert "another worker has it now" in caplog.text
    other.tell(taken, [0.2])
    assert other.reasons() == []
    assert other.trials()[0].value == 0.2


def test_trials_end_in_three_ways(tmp_path):
    study = study_in(tmp_path)
    good, worse, broken = (trial_of(study) for _ in range(3))
    study.tell(good, [0.5])
    worse.report(0.9, step=1)
    study.tell_pruned(worse)
    study.tell_failed(broken, "the loss became nan")
    assert states(study) == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert study.is_complete()
    assert study.best_number() == 0
    assert study.reasons() == ["trial 2: the loss became nan"]
    assert [row["state"] for row in study.rows(["loss"])] == ["complete", "pruned", "fail"]


def test_a_study_begun_with_something_else_is_refused(tmp_path):
    study_in(tmp_path)
    with pytest.raises(
        ConfigError, match=r"The study s was begun with another space.*\n.*study=s-2"
    ):
        opened(tmp_path).begin("another", first=[AS_IT_IS])


def test_a_study_that_begins_again_after_a_kill_queues_only_what_is_missing(tmp_path):
    first = [AS_IT_IS, {"x": 0.1, "optimizer": "adamw"}, {"x": 0.2, "optimizer": "adamw"}]
    killed = opened(tmp_path)
    killed.begin("same", first=first[:2])
    opened(tmp_path).begin("same", first=first)
    assert run(study_in(tmp_path)) == first


def test_of_several_objectives_no_trial_is_the_best(tmp_path):
    study = study_in(tmp_path, directions=["minimize", "maximize"])
    study.tell(trial_of(study), [0.1, 0.2])
    assert study.best_number() is None


def test_a_study_is_led_from_the_folder_where_it_began(tmp_path, monkeypatch):
    study = study_in(tmp_path)
    assert study.is_led_from_here()
    monkeypatch.chdir(tmp_path)
    assert not study.is_led_from_here()


def test_its_workers_are_told_its_run(tmp_path):
    study = study_in(tmp_path)
    assert study.run is None
    study.note_run(journal="sweep-1", run_id=None)
    assert opened(tmp_path).run == {"journal": "sweep-1", "run_id": None}
