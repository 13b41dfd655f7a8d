"""An experiment that a sweep wrote composes to the trial that it is of."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.cli.test_composer import finetune_values, pretrain_values
from vertiform.cli.compose import compose
from vertiform.cli.composer import as_overrides
from vertiform.cli.recipe_file import check_name, write_experiment
from vertiform.errors import ConfigError

NEEDED = {"pretrain": ["domain=software"], "finetune": ["domain=software", "task.name=area"]}


pytestmark = pytest.mark.usefixtures("conf")


def assert_composes_to_the_trial(door, overrides, values):
    file = write_experiment("found", door, [*NEEDED[door], *overrides], values, note="Trial 3.")
    trial = compose(door, [*NEEDED[door], *overrides, *as_overrides(values)])
    written = compose(door, [*NEEDED[door], "experiment=found"])
    place = ("trainer", "tracking")
    assert {k: v for k, v in written.items() if k not in place} == {
        k: v for k, v in trial.items() if k not in place
    }
    return file


@pytest.mark.parametrize(
    ("door", "overrides", "values"),
    [
        ("finetune", [], {"optimizer.lr": 1e-05}),
        ("finetune", ["experiment=entities", "seed=3"], {"starts.general.epochs": 2}),
        ("finetune", ["experiment=area", "task=entities"], {"start@starts.domain": "scratch"}),
        ("finetune", ["schedule=warmup_linear", "schedule=warmup_cosine"], {"budget.epochs": 2}),
        ("finetune", ["starts.domain.lr='${optimizer.lr}'"], {"optimizer.lr": 0.25}),
        ("pretrain", ["experiment=software", "optimizer=muon"], {"optimizer": "adamw"}),
        ("pretrain", ["+mixture.replay.legal=0.1"], {"objective": "rtd", "model.dropout": 0}),
        ("pretrain", ["budget={total_steps:null,total_tokens:9}"], {"weights": "no"}),
        ("pretrain", ["optimizer.lr=1", "optimizer.lr=2"], {"objective.glossary": None}),
    ],
)
def test_an_experiment_composes_to_the_trial_that_it_is_of(door, overrides, values):
    assert_composes_to_the_trial(door, overrides, values)


few = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example removes its file
)


@few
@given(values=pretrain_values)
def test_any_pretraining_can_be_written(conf, values):
    assert_composes_to_the_trial("pretrain", ["experiment=software"], values).unlink()


@few
@given(values=finetune_values)
def test_any_fine_tuning_can_be_written(conf, values):
    assert_composes_to_the_trial("finetune", ["experiment=area"], values).unlink()


def test_the_file_says_what_it_is_and_where_it_is_from(conf):
    overrides = ["domain=software", "task.name=area", "trainer=gpu", "experiment=area"]
    values = {"start": "general", "optimizer": "muon", "starts.general.lr": 0.0002}
    note = "Trial 12 of 20 of finetune-software-area: val/f1_macro 0.81, and 0.78 as it was."
    write_experiment("area_tuned", "finetune", overrides, values, note=note)
    assert (conf / "experiment/area_tuned.yaml").read_text() == (
        "# @package _global_\n"
        "# Found by a sweep:  vertiform finetune domain=software task.name=area "
        "experiment=area_tuned\n"
        "# Trial 12 of 20 of finetune-software-area: val/f1_macro 0.81, and 0.78 as it was.\n"
        "defaults:\n"
        "  - area\n"
        "  - _self_\n"
        "  - override /optimizer: muon\n"
        "\n"
        "starts:\n"
        "  general:\n"
        "    lr: 0.0002\n"
    )


def test_an_experiment_that_is_there_is_not_overwritten(conf):
    before = (conf / "experiment/area.yaml").read_text()
    with pytest.raises(ConfigError, match=r"area.yaml exists(.|\n)*another name, or delete it"):
        write_experiment("area", "finetune", NEEDED["finetune"], {"seed": 3}, note="")
    assert (conf / "experiment/area.yaml").read_text() == before


@pytest.mark.parametrize("name", ["", "../area", "a b", ".hidden", "a/b", "a.b", "12", "null"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(ConfigError, match=r"cannot name an experiment"):
        check_name(name)


@pytest.mark.parametrize("text", ["~budget.total_steps", "+gates=staging"])
def test_what_no_experiment_can_hold_is_refused(conf, text):
    with pytest.raises(ConfigError, match=r"cannot be written into an experiment"):
        write_experiment("found", "pretrain", [*NEEDED["pretrain"], text], {"seed": 3}, note="")
    assert not (conf / "experiment/found.yaml").exists()
