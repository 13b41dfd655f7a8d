"""A space asks real Optuna trials, and says the same of them afterwards."""

import json

import optuna
import pytest

from vertiform.errors import ConfigError
from vertiform.sweeps.dimensions import Choice, Float, Int
from vertiform.sweeps.space import Branch, Space

LR = Float("optimizer.lr", 1e-4, 1e-2, is_log=True)
OPTIMIZER = Choice("optimizer", ("adamw", "muon"))
MUON = (Float("optimizer.lr", 0.1, 1.0), Choice("nesterov", (True, False)))
BRANCHED = Space(
    (OPTIMIZER, Int("epochs", 2, 8, step=2)),
    (
        Branch("optimizer", "adamw", (LR,)),
        Branch("optimizer", "muon", MUON),
        Branch("nesterov", True, (Float("momentum", 0.5, 0.9, step=0.1),)),
    ),
)


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def drawn(study, space, number=60):
    for _ in range(number):
        trial = study.ask()
        yield space.suggest(trial), trial


def test_a_dimension_exists_only_where_its_branch_was_chosen(study):
    seen = {frozenset(values) for values, _ in drawn(study, BRANCHED)}
    muon = {"optimizer", "epochs", "optimizer.lr", "nesterov"}
    assert seen == {
        frozenset({"optimizer", "epochs", "optimizer.lr"}),
        frozenset(muon),
        frozenset({*muon, "momentum"}),
    }


def test_a_key_of_two_branches_has_the_range_of_the_one_that_was_chosen(study):
    for values, trial in drawn(study, BRANCHED):
        is_muon = values["optimizer"] == "muon"
        assert (values["optimizer.lr"] >= 0.1) == is_muon
        assert f"optimizer.lr (optimizer={values['optimizer']})" in trial.params


def test_the_values_of_a_finished_trial_are_those_it_was_given(study):
    for values, trial in drawn(study, BRANCHED):
        assert BRANCHED.values(trial.params) == values
        assert BRANCHED.params(values) == pytest.approx(trial.params)


def test_a_trial_that_ended_while_it_was_asked_has_what_it_was_asked_for():
    params = {"optimizer": "muon", "optimizer.lr (optimizer=muon)": 0.25}
    assert BRANCHED.values(params) == {"optimizer": "muon", "optimizer.lr": 0.25}
    assert BRANCHED.values({}) == {}


def test_a_queued_trial_gets_the_values_it_was_queued_with(study):
    values = {"optimizer": "muon", "epochs": 4, "optimizer.lr": 0.25, "nesterov": False}
    study.enqueue_trial(BRANCHED.params(values))
    assert BRANCHED.suggest(study.ask()) == values


def test_a_queued_trial_has_the_types_of_its_dimensions_whoever_reads_it(study):
    space = Space((Float("rate", 0, 1), Int("epochs", 1, 8), Choice("width", (8.0, 16.0))))
    study.enqueue_trial(space.params({"rate": 1, "epochs": 8.0, "width": 8}))
    trial = study.ask()
    asked = space.suggest(trial)
    read = space.values(study.trials[0].params)
    assert [*map(repr, asked.values())] == [*map(repr, read.values())] == ["1.0", "8", "8.0"]


def test_a_fraction_with_a_step_is_the_decimal_that_was_meant(study):
    space = Space((Float("k", 0.1, 0.9, step=0.1),))
    seen = {values["k"] for values, _ in drawn(study, space)}
    assert seen == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}
    assert seen == {*space.grid()["k"]}


def test_a_grid_draws_every_combination_once():
    space = Space((Int("epochs", 2, 8, step=3), Choice("pooling", ("mean", "first"))))
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(space.grid(), seed=0))
    seen = {tuple(values.values()) for values, _ in drawn(study, space, number=6)}
    assert seen == {(e, p) for e in (2, 5, 8) for p in ("mean", "first")}


def test_a_grid_of_an_interval_is_refused():
    with pytest.raises(ConfigError, match=r"every value of `optimizer.lr`(.|\n)*sampler=tpe"):
        Space((LR,)).grid()


def test_a_grid_with_branches_is_refused():
    with pytest.raises(ConfigError, match=r"no branches(.|\n)*sampler=tpe"):
        BRANCHED.grid()


def test_what_is_not_given_takes_its_first_end():
    assert BRANCHED.completed({"optimizer": "muon", "epochs": 6}) == {
        "optimizer": "muon",
        "optimizer.lr": 0.1,
        "nesterov": True,
        "momentum": 0.5,
        "epochs": 6,
    }


def test_what_does_not_fit_a_dimension_takes_its_first_end():
    values = {"optimizer": "adamw", "optimizer.lr": 0.5, "epochs": 3}  # a rate of muon's branch
    completed = {"optimizer": "adamw", "optimizer.lr": 1e-4, "epochs": 2}
    assert BRANCHED.completed(values) == completed


def test_the_order_in_which_a_space_is_written_is_no_part_of_what_it_is():
    turned = Space(BRANCHED.dimensions[::-1], BRANCHED.branches[::-1])
    assert turned.as_json() == BRANCHED.as_json()
    assert Space(BRANCHED.dimensions).as_json() != BRANCHED.as_json()
    assert json.loads(BRANCHED.as_json())["dimensions"][0]["key"] == "epochs"


def test_a_branch_that_hangs_on_itself_is_walked_once():
    loop = Space((OPTIMIZER,), (Branch("optimizer", "muon", (OPTIMIZER,)),))
    assert len([*loop.places()]) == 2


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (LR, [1e-4, 0.005, 1e-2], [0.02, None, "0.005", True]),
        (Int("k", 2, 8, step=2), [2, 4.0, 8], [3, 1, 10, None, True]),
        (Float("k", 0.1, 0.9, step=0.1), [0.3, 0.1 + 0.2], [0.35, 1.0]),
        (Choice("k", (1, "a", None)), [1, 1.0, "a", None], [True, "b", 2]),
        (Choice("k", (True, False)), [True], [1, 0, None]),
    ],
)
def test_a_dimension_knows_what_it_holds(dimension, inside, outside):
    assert all(dimension.holds(value) for value in inside)
    assert not any(dimension.holds(value) for value in outside)


@pytest.mark.parametrize(
    ("dimension", "said"),
    [
        (LR, "0.0001 to 0.01, log scale"),
        (Int("k", 2, 8, step=2), "whole numbers 2 to 8 by 2"),
        (Float("k", 0.1, 0.9, step=0.1), "0.1 to 0.9 by 0.1"),
        (Choice("k", (None, True, 0.5)), "one of null, true, 0.5"),
    ],
)
def test_a_dimension_is_said_in_words(dimension, said):
    assert str(dimension) == said
