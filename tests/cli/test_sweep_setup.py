"""What a sweep is, as its command line says; what no sweep can be is said in one line each."""

import shutil
from pathlib import Path

import pytest

from vertiform.cli.sweeping.jobs import AS_IT_IS, BEST
from vertiform.cli.sweeping.setup import read_setup
from vertiform.errors import ConfigError

ROOT = Path(__file__).parents[2]
AREA = ("domain=software", "task.name=area")
RATE = "optimizer.lr=interval(1e-4, 1e-2)"


@pytest.fixture(autouse=True)
def conf(tmp_path, monkeypatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf"


def setup_of(*overrides: str, door: str = "finetune"):
    given = AREA if door == "finetune" else AREA[:1]
    return read_setup(door, [*given, *overrides])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["n_trials=0"], r"n_trials is 0, which must be 1 or more\.\n.*set n_trials=1\."),
        (["workers=-1"], r"workers is -1, which must be 1 or more\.\n.*set workers=1\."),
        (["workers=many"], r"workers is many, which must be 1 or more\.\n.*set workers=1\."),
        (["confirmation_seeds=-1"], r"confirmation_seeds is -1, which must be 0 or more"),
        (["max_failure_fraction=-0.5"], r"max_failure_fraction is -0\.5, which must be 0 or more"),
        (["heartbeat_seconds=0"], r"heartbeat_seconds is 0, which must be 1 or more"),
        (["objectives=[quality, size]"], r"several objectives cannot be pruned.*\n.*pruner=none"),
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


def test_a_grid_has_no_more_trials_than_it_holds_beside_the_first():
    choices = ("optimizer.lr=choice(0.001, 0.01)", "budget.epochs=choice(4, 6, 8)")
    assert setup_of(*choices, "sampler=grid", "n_trials=50").search_job().n_trials == 7
    assert setup_of(*choices, "sampler=grid", "n_trials=3").search_job().n_trials == 3
    assert setup_of(*choices, "n_trials=50").search_job().n_trials == 50


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
