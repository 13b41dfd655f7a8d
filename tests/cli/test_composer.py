"""The configurations of trials, one after another, against what Hydra composes each time."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertiform.cli.compose import compose
from vertiform.cli.composer import Composer, as_overrides
from vertiform.errors import ConfigError

ROOT = Path(__file__).parents[2]
PRETRAIN = ["domain=software", "experiment=software", "optimizer.weight_decay=0.02"]
FINETUNE = ["domain=software", "task.name=area", "experiment=area", "schedule=warmup_linear"]

rates = st.floats(1e-9, 1.0)
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).filter(
    lambda text: "${" not in text  # an interpolation, which no search holds
)
pretrain_values = st.fixed_dictionaries(
    {},
    optional={
        "optimizer": st.sampled_from(["adamw", "muon"]),
        "model": st.sampled_from(["encoder_tiny", "decoder_tiny"]),
        "objective": st.sampled_from(["mlm", "mlm_span", "mlm_nsp"]),
        "optimizer.lr": rates,
        "schedule.warmup_fraction": st.sampled_from([0, 0.1, 1e-5]),
        "seed": st.integers(-(10**9), 10**9),
        "weights": st.none() | words,
        "budget.total_tokens": st.none() | st.integers(1, 10**12),
    },
)
finetune_values = st.fixed_dictionaries(
    {},
    optional={
        "optimizer": st.sampled_from(["adamw", "muon"]),
        "start@starts.domain": st.sampled_from(["domain", "scratch", "general"]),
        "optimizer.lr": rates,
        "starts.domain.lr": rates,
        "budget.epochs": st.integers(1, 99),
        "starts.general.pooling": words,
        "task.score": words,
    },
)


@pytest.fixture(autouse=True, scope="module")
def at_the_root():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@settings(max_examples=12, deadline=None, derandomize=True)
@given(values=pretrain_values)
def test_a_pretraining_is_what_hydra_composes(values):
    assert shared("pretrain", PRETRAIN).composed(values) == compose(
        "pretrain", [*PRETRAIN, *as_overrides(values)]
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(values=finetune_values)
def test_a_fine_tuning_is_what_hydra_composes(values):
    assert shared("finetune", FINETUNE).composed(values) == compose(
        "finetune", [*FINETUNE, *as_overrides(values)]
    )


def shared(door, overrides, _kept={}):  # noqa: B006  (one for all examples, as in a sweep)
    return _kept.setdefault(door, Composer(door, overrides))


def test_a_rate_is_passed_on_to_what_is_interpolated_from_it():
    composer = Composer("finetune", FINETUNE)
    config = composer.composed({"optimizer.lr": 0.5, "starts.scratch.head_lr": 0.25})
    assert config["starts"]["scratch"]["lr"] == 0.5
    assert config["starts"]["scratch"]["head_lr"] == 0.25


def test_one_trial_leaves_nothing_to_the_next():
    composer = Composer("pretrain", PRETRAIN)
    before = composer.composed({})
    composer.composed({"optimizer.lr": 0.5, "model": "decoder_tiny"})
    assert composer.composed({}) == before


def test_a_group_that_the_command_chose_too_is_the_trials():
    composer = Composer("pretrain", [*PRETRAIN, "optimizer=muon"])
    assert composer.composed({"optimizer": "adamw"})["optimizer"]["_target_"].endswith("AdamW")
    assert composer.choices({"optimizer": "adamw"})["optimizer"] == "adamw"
    assert composer.choices({})["optimizer"] == "muon"


def test_a_trial_is_composed_in_a_fifth_of_the_time_that_hydra_takes():
    composer = Composer("finetune", FINETUNE)
    composer.composed({})

    def seconds(work) -> float:
        started = time.process_time()
        for lr in range(5):
            work({"starts.domain.lr": lr / 100})
        return time.process_time() - started

    hydra = seconds(lambda values: compose("finetune", [*FINETUNE, *as_overrides(values)]))
    assert seconds(composer.composed) < hydra / 5  # measured: a twentieth


def test_a_key_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"`optimizer.lrr`(.|\n)*did you mean `optimizer.lr`"):
        Composer("pretrain", PRETRAIN).composed({"optimizer.lrr": 1.0})


def test_a_choice_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean `muon`"):
        Composer("pretrain", PRETRAIN).composed({"optimizer": "mion"})
