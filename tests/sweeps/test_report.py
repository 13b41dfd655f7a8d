from dataclasses import replace

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tests.sweeps.studies import study_of_several, trial_of
from vertiform.sweeps.dimensions import Choice, Float, Int
from vertiform.sweeps.finding import finding, improvement, is_shown_worse
from vertiform.sweeps.outcome import Confirmation, Outcome, Tried, outcome_of
from vertiform.sweeps.report import closing_lines, markdown_of
from vertiform.sweeps.space import Branch, Space

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
DONE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
SPACE = Space(
    dimensions=(
        Float("optimizer.lr", 1e-5, 1e-1, is_log=True),
        Choice("optimizer", ("adamw", "muon")),
    ),
    branches=(Branch("optimizer", "muon", (Int("budget.epochs", 1, 12),)),),
)
BASE = {"optimizer__lr": 1e-3, "optimizer": "adamw"}
TRIALS = [
    trial_of(0, DONE, 0.70, heard={50: 0.6, 100: 0.7}, **BASE),
    trial_of(1, PRUNED, heard={50: 0.2}, optimizer__lr=0.05, optimizer="adamw"),
    trial_of(
        2, DONE, 0.75, heard={100: 0.75}, optimizer__lr=3e-4, optimizer="muon", budget__epochs=8
    ),
    trial_of(3, FAIL, heard={50: 0.1}, optimizer__lr=0.09, optimizer="adamw"),
    trial_of(4, FAIL, optimizer__lr=0.08, optimizer="adamw"),
    trial_of(5, TrialState.RUNNING, optimizer__lr=0.01, optimizer="adamw"),
]
REASONS = {3: "the loss is not a number", 4: "the loss is not a number"}
SURE = Confirmation(seeds=(1, 2, 3), best=(0.750, 0.752, 0.754), base=(0.700, 0.702, 0.704))
NOISE = Confirmation(seeds=(1, 2, 3), best=(0.71, 0.75, 0.70), base=(0.70, 0.73, 0.69))
BEST_TABLE = """
| in the search | as it was | trial 2 |
| --- | --- | --- |
| optimizer.lr | 0.001 | 0.0003 |
| optimizer | adamw | muon |
| budget.epochs | - | 8 |
| val/f1_macro | 0.700 | 0.750 |
"""
SEEDS_TABLE = """
| over seeds | val/f1_macro (95% interval) | runs |
| --- | ---: | ---: |
| trial 2 | 0.7520 (0.7470 to 0.7570) | 0.750, 0.752, 0.754 |
| as it was | 0.7020 (0.6970 to 0.7070) | 0.700, 0.702, 0.704 |
| better by | +0.0500 (+0.0455 to +0.0545) |  |
"""
FAILED_TABLE = """
| reason | trials |
| --- | --- |
| the loss is not a number | trials 3, 4 |
"""


def outcome(trials=TRIALS, *, confirmation=None, directions=(UP,), n_trials=20) -> Outcome:
    return outcome_of(
        trials,
        name="finetune-software-area",
        space=SPACE,
        objectives=("val/f1_macro", "size")[: len(directions)],
        directions=directions,
        n_trials=n_trials,
        reason_of=lambda trial: REASONS.get(trial.number, "unknown"),
        confirmation=confirmation,
    )


def test_the_facts_of_a_sweep_are_counted_from_its_trials():
    found = outcome()
    assert (found.num_done, found.num_pruned, found.num_failed, found.num_ended) == (2, 1, 2, 5)
    assert found.num_steps == 100 + 50 + 100 + 50
    assert found.failures == {"the loss is not a number": (3, 4)}
    assert found.base == Tried(
        number=0, settings={"optimizer.lr": 1e-3, "optimizer": "adamw"}, values=(0.70,)
    )
    assert [trial.number for trial in found.best] == [2]


@pytest.mark.parametrize("given", [{}, {"optimizer__lr": 1e-3}], ids=["waits", "is asked for"])
def test_a_first_trial_that_was_not_given_all_its_values_yet_can_be_told(given):
    state = TrialState.RUNNING if given else TrialState.WAITING
    found = outcome([trial_of(0, state, **given), *TRIALS[1:]])
    lr = "0.001" if given else "-"
    text = markdown_of(found)
    assert f"| optimizer.lr | {lr} | 0.0003 |" in text
    assert "| optimizer | - | muon |" in text


def test_the_space_is_told_with_the_choices_that_bring_a_branch_about():
    assert outcome().space == (
        ("optimizer.lr", "1e-05 to 0.1, log scale"),
        ("optimizer", "one of adamw, muon"),
        ("budget.epochs", "whole numbers 1 to 12; where optimizer=muon"),
    )


def test_a_gain_that_seeds_do_not_explain_is_called_better_with_its_interval():
    assert finding(outcome(confirmation=SURE)) == (
        "Trial 2 is better than the configuration as it was by 0.0500 val/f1_macro (95% interval "
        "0.0455 to 0.0545; 3 runs of each)."
    )


def test_a_gain_that_seeds_may_explain_is_called_noise():
    said = finding(outcome(confirmation=NOISE))
    assert said == (
        "The difference is noise: trial 2 and the configuration as it was differ by +0.013 "
        "val/f1_macro (95% interval -0.042 to +0.068; 3 runs of each), which seeds alone may "
        "explain."
    )


def test_runs_that_failed_are_counted_and_not_compared():
    short = replace(SURE, base=SURE.base[:2])
    assert "; 3 and 2 runs)" in finding(outcome(confirmation=short))
    assert "0.700, 0.702 (1 failed) |" in markdown_of(outcome(confirmation=short))


def test_only_runs_over_seeds_show_that_the_best_trial_is_worse():
    swapped = replace(SURE, best=SURE.base, base=SURE.best)
    assert is_shown_worse(outcome(confirmation=swapped))
    assert not is_shown_worse(outcome(confirmation=SURE))
    assert not is_shown_worse(outcome(confirmation=NOISE))
    assert not is_shown_worse(outcome())


def test_a_best_trial_that_is_worse_over_seeds_is_called_worse():
    swapped = replace(SURE, best=SURE.base, base=SURE.best)
    said = finding(outcome(confirmation=swapped))
    assert said.startswith(
        "Trial 2 is worse than the configuration as it was by 0.0500 val/f1_macro (95% interval "
        "0.0455 to 0.0545; "
    )
    assert said.endswith("Its value in the search was luck.")


def test_where_less_is_better_a_lower_mean_is_the_better_one():
    found = outcome(directions=(DOWN,), confirmation=SURE)
    assert [trial.number for trial in found.best] == [0]
    lower = replace(outcome(confirmation=SURE), is_lower_better=(True,))
    assert improvement(lower, SURE).value == pytest.approx(-0.05)
    assert "worse" in finding(lower)


@pytest.mark.parametrize(
    ("best", "base", "words"),
    [
        ((0.75,), (0.70,), "one run alone does not say how much a seed changes"),
        ((0.75, 0.75), (0.7, 0.7), "all runs of a side have the same value"),
        ((), (0.7, 0.7), "no run of trial 2 over seeds ended well"),
        ((0.75, 0.76), (), "no run of the configuration as it was over seeds ended well"),
    ],
)
def test_runs_that_cannot_tell_lead_to_no_claim(best, base, words):
    found = outcome(confirmation=Confirmation(seeds=(1, 2), best=best, base=base))
    assert words in finding(found)
    assert " better" not in finding(found)
    assert markdown_of(found)


def test_without_runs_over_seeds_the_best_is_called_partly_luck():
    assert finding(outcome()) == (
        "Trial 2 came out best, with val/f1_macro 0.750; the configuration as it was had 0.700. "
        "No runs over seeds confirm it, and the best of many trials is partly luck."
    )


def test_a_configuration_that_no_trial_beats_is_said_to_be_best():
    assert finding(outcome(TRIALS[:2])) == (
        "No trial beat the configuration as it was: val/f1_macro 0.700."
    )


def test_a_sweep_without_a_trial_that_ended_well_claims_nothing():
    found = outcome(TRIALS[3:5])
    assert finding(found) == "No trial ended well, so nothing was found."
    assert "the loss is not a number: trials 3, 4" in closing_lines(found)
    assert markdown_of(outcome([])).startswith("# Sweep finetune-software-area\n")


def test_the_page_tells_what_changed_how_sure_it_is_and_what_failed():
    text = markdown_of(outcome(confirmation=SURE))
    sections = text.split("\n\n")
    assert sections[0] == "# Sweep finetune-software-area"
    assert sections[1] == finding(outcome(confirmation=SURE))
    assert sections[2] == (
        "5 of 20 trials have ended: 2 done, 1 pruned, 2 failed. They trained 300 steps together."
    )
    assert sections[3:5] == ["## The best trial", BEST_TABLE.strip()]
    assert sections[5:7] == ["## Over seeds", SEEDS_TABLE.strip()]
    assert text.endswith("## What failed\n\n" + FAILED_TABLE.lstrip())


def test_the_terminal_ends_with_the_counts_the_settings_and_the_finding():
    lines = closing_lines(outcome(confirmation=SURE))
    assert lines[0].startswith("5 of 20 trials have ended")
    assert lines[-1] == finding(outcome(confirmation=SURE))
    assert max(map(len, lines[:-1])) < 100


def test_several_objectives_are_a_table_of_what_none_beats_without_a_best():
    trials = [
        trial_of(0, DONE, 0.70, 10.0, **BASE),
        trial_of(1, DONE, 0.75, 8.0, optimizer__lr=0.0003, optimizer="adamw"),
        trial_of(2, DONE, 0.80, 12.0, optimizer__lr=0.0002, optimizer="muon", budget__epochs=3),
    ]
    found = outcome(trials, directions=(UP, DOWN))
    assert finding(found).startswith("Of 3 trials that ended well, 2 trials are beaten by no other")
    text = markdown_of(found)
    assert "best" not in text
    assert "| 1 | 0.750 | 8.000 | 0.0003 |" in text
    assert "| 0 (as it was; beaten) | 0.700 | 10.000 | 0.001 |" in text


def test_a_base_that_failed_is_shown_without_values():
    trials = [
        trial_of(0, FAIL, **BASE),
        trial_of(1, DONE, 0.75, 8.0, optimizer__lr=0.0003, optimizer="adamw"),
    ]
    several = markdown_of(outcome(trials, directions=(UP, DOWN)))
    assert "| 0 (as it was; no value) | - | - | 0.001 |" in several
    one = [trials[0], trial_of(1, DONE, 0.75, optimizer__lr=0.0003, optimizer="adamw")]
    assert "| val/f1_macro | - | 0.750 |" in markdown_of(outcome(one))
    assert "the configuration as it was" not in finding(outcome(one))


def test_settings_that_differ_too_little_to_be_read_are_still_shown():
    close = [TRIALS[0], trial_of(1, DONE, 0.8, optimizer__lr=1.0001e-3, optimizer="adamw")]
    assert "| optimizer.lr | 0.001 | 0.001 |" in markdown_of(outcome(close))


def test_the_front_of_a_real_study_is_told():
    study = study_of_several(3)
    space = Space(
        (
            Int("model.width", 64, 512, is_log=True),
            Int("model.num_layers", 1, 6),
            Float("optimizer.lr", 1e-5, 1e-1, is_log=True),
        )
    )
    found = outcome_of(
        study.trials,
        name="three",
        space=space,
        objectives=("quality", "latency", "size"),
        directions=study.directions,
        n_trials=24,
        reason_of=str,
    )
    assert {t.number for t in found.best} == {t.number for t in study.best_trials}
    assert all(f"| {t.number} |" in markdown_of(found) for t in found.best if t.number)
