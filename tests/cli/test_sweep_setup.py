"""What a sweep is, as its command line says; what no sweep can be is said in one line each."""

import pytest

from vertiform.cli.sweeping.ending import values_over_seeds
from vertiform.cli.sweeping.jobs import AS_IT_IS, BEST
from vertiform.cli.sweeping.setup import read_setup
from vertiform.errors import ConfigError

AREA = ("domain=software", "task.name=area")
RATE = "optimizer.lr=interval(1e-4, 1e-2)"


pytestmark = pytest.mark.usefixtures("conf")


def setup_of(*overrides: str, door: str = "finetune"):
    given = AREA if door == "finetune" else AREA[:1]
    return read_setup(door, [*given, *overrides])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["n_trials=0"], r"n_trials is 0, which must be a whole number, 1 or more"),
        (["workers=-1"], r"workers is -1, which must be a whole number, 1 or more"),
        (["workers=many"], r"workers is many, which must be a whole number, 1 or more"),
        (
            ["confirmation_seeds=-1"],
            r"confirmation_seeds is -1, which must be a whole number",
        ),
        (
            ["max_failure_fraction=-0.5"],
            r"-0\.5, which is no fraction from 0 to 1",
        ),
        (["heartbeat_seconds=0"], r"heartbeat_seconds is 0, which must be a whole number"),
        (["objectives=[quality, size]"], r"several objectives cannot be pruned.*\n.*pruner=none"),
        (["workers=1.5"], r"workers is 1\.5, which must be a whole number, 1 or more"),
        (["n_trials=true"], r"n_trials is True, which must be a whole number, 1 or more"),
        (["max_failure_fraction=2"], r"no fraction from 0 to 1"),
        (["sampler=grid"], r"an interval has no end of them"),
        (["search=starts", "sampler=grid"], r"A grid has no branches"),
        (["pruner=hyperband", "pruner.max_resource=soon"], r"does not fit"),
        (["sampler._target_=os.system"], r"not part of Vertiform"),
        (
            ["sampler=cmaes", "objectives=[quality, size]", "pruner=none"],
            r"CMA-ES compares trials by one number.*\n.*sampler=nsga2",
        ),
        (["study=../away"], r"`\.\./away` cannot be the name of a study.*\n.*study=rates-2"),
        (["study=''"], r"`` cannot be the name of a study"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_no_sweep_can_be_is_said_with_what_to_give_instead(overrides, said):
    with pytest.raises(ConfigError, match=said):
        setup_of(RATE, *overrides)


def test_a_door_that_is_none_is_said_with_the_nearest():
    with pytest.raises(ConfigError, match=r"`finetun` is nothing to sweep over.*\n.*`finetune`"):
        read_setup("finetun", [*AREA, RATE])


def test_a_study_is_named_by_its_door_domain_task_and_search():
    assert setup_of(RATE).name == "finetune-software-area"
    assert setup_of("search=finetune").name == "finetune-software-area-finetune"
    assert setup_of("search=pretrain", "experiment=software", door="pretrain").name == (
        "pretrain-software-pretrain"
    )
    assert setup_of(RATE, "study=rates-2").name == "rates-2"


def test_a_grid_is_every_combination_once_and_begins_with_the_configuration_as_it_is():
    choices = ("starts.domain.pooling=choice(first, mean)", "budget.epochs=choice(4, 6, 8)")
    setup = setup_of(*choices, "sampler=grid", "n_trials=50")
    tried = [tuple(values.values()) for values in setup.queued]
    assert tried[0] == ("mean", 8)
    assert sorted(tried) == [(p, e) for p in ("first", "mean") for e in (4, 6, 8)]
    assert setup.search_job().n_trials == 6
    few = setup_of(*choices, "sampler=grid", "n_trials=3")
    assert few.queued == setup.queued[:3]
    assert few.search_job().n_trials == 3
    assert setup_of(*choices, "n_trials=50").search_job().n_trials == 50


def test_a_grid_of_more_combinations_than_anyone_runs_is_refused():
    with pytest.raises(ConfigError, match="A grid of this space has 19,999 combinations"):
        setup_of("batches.examples_per_batch=range(1, 20000)", "sampler=grid")


def test_several_objectives_are_compared_each_in_its_direction():
    setup = setup_of(RATE, "objectives=[quality, size]", "pruner=none")
    assert setup.objectives.directions == ["maximize", "minimize"]
    assert not setup.search_job().prunes
    assert setup_of(RATE).search_job().prunes


def test_what_changes_speed_alone_makes_no_other_study():
    study = setup_of(RATE).identity("data")
    assert setup_of(RATE, "trainer.threads=1").identity("data") == study
    assert setup_of(RATE, "n_trials=50", "workers=2", "sampler=random").identity("data") == study


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.lr=interval(1e-4, 1e-1)"],
        [RATE, "budget.epochs=3"],
        [RATE, "seed=1"],
        [RATE, "start=scratch"],
        [RATE, "objectives=[size]"],
    ],
    ids=lambda overrides: overrides[-1],
)
def test_another_space_configuration_or_objective_is_another_study(overrides):
    assert setup_of(*overrides).identity("data") != setup_of(RATE).identity("data")


def test_other_data_make_another_study():
    assert setup_of(RATE).identity("data") != setup_of(RATE).identity("other")


def test_a_trial_is_its_values_over_the_configuration():
    job = setup_of(RATE, "budget.epochs=3").search_job()
    config = job.config_of({"optimizer.lr": 0.002})
    assert (config["optimizer"]["lr"], config["budget"]["epochs"]) == (0.002, 3)
    assert config["start"] == "domain"
    assert job.overrides_of({"optimizer.lr": 0.002}) == "optimizer.lr=0.002"
    assert job.name_of(4, {}) == "trial 4"


def test_a_confirmation_runs_both_configurations_over_seeds_that_the_search_has_not_seen(tmp_path):
    setup = setup_of(RATE, "confirmation_seeds=2", "seed=10")
    study = setup.open_study(setup.search_job())
    study.begin("same", first=[{"optimizer.lr": 0.001}, {"optimizer.lr": 0.005}])
    for _ in range(2):
        trial = study.next_trial()
        study.tell(trial, [trial.values["optimizer.lr"]])
    study.close()
    job = setup.confirming(1)
    assert job.runs == [
        {"configuration": configuration, "seed": seed}
        for seed in (11, 12)
        for configuration in (AS_IT_IS, BEST)
    ]
    assert (job.n_trials, job.prunes) == (4, False)
    configs = [job.config_of(values) for values in job.runs]
    assert [(c["optimizer"]["lr"], c["seed"]) for c in configs] == [
        (0.001, 11),
        (0.005, 11),
        (0.001, 12),
        (0.005, 12),
    ]
    assert job.name_of(0, job.runs[1]) == "best, seed 11"
    assert job.study_name == "finetune-software-area-confirms-1"


@pytest.fixture
def searched(tmp_path):
    """A search of two trials that has ended, of which the second is best."""
    study = setup_of(RATE).open_study(setup_of(RATE).search_job())
    study.begin("same", first=[{"optimizer.lr": 0.001}, {"optimizer.lr": 0.005}])
    for _ in range(2):
        trial = study.next_trial()
        study.tell(trial, [trial.values["optimizer.lr"]])
    study.close()


def confirmed_over(seeds: int, *, failing: tuple[int, ...] = ()):
    """Run what is left of a confirmation; the score of each is its seed, but for those failing."""
    setup = setup_of(RATE, f"confirmation_seeds={seeds}", "seed=10")
    job = setup.confirming(1)
    study = setup.open_study(job)
    study.begin("same", first=job.runs)
    ran = []
    while (trial := study.next_trial()) is not None:
        ran.append(trial.values["seed"])
        if trial.values["seed"] in failing:
            study.tell_failed(trial, "the loss became nan")
        else:
            study.tell(trial, [float(trial.values["seed"])])
    found = values_over_seeds(job, study)
    study.close()
    return job, ran, found


def test_a_confirmation_goes_on_over_more_seeds_and_back_to_fewer(searched):
    assert confirmed_over(2)[1] == [11, 11, 12, 12]
    _, ran, found = confirmed_over(4)
    assert ran == [13, 13, 14, 14]
    assert found.best == found.base == (11.0, 12.0, 13.0, 14.0)
    _, ran, found = confirmed_over(2)
    assert ran == []
    assert found.best == found.base == (11.0, 12.0)


def test_runs_of_a_confirmation_that_fail_are_its_finding_and_stop_nothing(searched):
    job, _, found = confirmed_over(3, failing=(12, 13))
    assert found.best == (11.0,)
    assert job.max_failed >= 4
    assert setup_of(RATE, "n_trials=10", "max_failure_fraction=0.3").search_job().max_failed == 3.0
