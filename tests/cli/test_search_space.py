"""A search space that does not fit is refused before the first trial, in one line."""

import optuna
import pytest

from tests.cli.conftest import ROOT
from vertiform.cli.compose import compose, instantiate
from vertiform.cli.composer import as_overrides
from vertiform.cli.search_space import compose_sweep, read_space, sorted_out
from vertiform.errors import ConfigError
from vertiform.sweeps.dimensions import Choice, Float, Int
from vertiform.sweeps.space import Branch

NEEDED = {"pretrain": ["domain=software"], "finetune": ["domain=software", "task.name=area"]}


pytestmark = pytest.mark.usefixtures("conf")


def read(door, *overrides):
    given = sorted_out([*NEEDED[door], *overrides])
    return read_space(door, given, sweep=compose_sweep(given))


@pytest.fixture
def read_file(conf):
    """Read a space from a file of conf/search."""

    def read_it(door, text, *overrides):
        (conf / "search/mine.yaml").write_text(text)
        return read(door, "search=mine", *overrides)

    return read_it


def test_a_file_and_a_command_give_the_same_space(read_file):
    text = "space:\n  optimizer.lr: tag(log, interval(1e-4, 1e-2))\n  budget.epochs: range(2, 9)\n"
    from_file = read_file("finetune", text)
    from_command = read(
        "finetune", "optimizer.lr=tag(log, interval(1e-4, 1e-2))", "budget.epochs=range(2, 9)"
    )
    assert from_file.space == from_command.space
    assert from_file.space.dimensions == (
        Float("optimizer.lr", 1e-4, 1e-2, is_log=True),
        Int("budget.epochs", 2, 8),
    )
    assert from_file.current == {"optimizer.lr": 0.001, "budget.epochs": 8}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "conf/search").glob("*.yaml")), ids=lambda f: f.stem
)
def test_a_file_of_conf_search_fits_the_door_that_it_names(file):
    _, door, *overrides = file.read_text().splitlines()[0].partition("vertiform ")[2].split()
    search = read(door, *(o for o in overrides if o not in NEEDED[door]))
    assert search.space.completed(search.current) == search.current


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param("gp", marks=pytest.mark.slow),
        *(f.stem for f in (ROOT / "conf/sampler").glob("*.yaml") if f.stem not in ("gp", "grid")),
    ],
)
def test_a_sampler_of_conf_draws_from_a_space_with_branches(sampler):
    given = sorted_out(["domain=software", "search=pretrain", f"sampler={sampler}"])
    sweep = compose_sweep(given)
    search = read_space("pretrain", given, sweep=sweep)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=instantiate(sweep["sampler"], allowed=("optuna.",), seed=0))
    study.enqueue_trial(search.space.params(search.current))
    drawn = []
    for _ in range(12):
        trial = study.ask()
        drawn.append(search.space.suggest(trial))
        study.tell(trial, drawn[-1]["optimizer.lr"])
    assert drawn[0] == search.current
    assert [search.space.values(trial.params) for trial in study.trials] == drawn
    assert {values["optimizer"] for values in drawn} == {"adamw", "muon"}


def test_a_sweep_of_the_command_replaces_one_of_the_file(read_file):
    text = "space: {budget.epochs: 'range(2, 9)', optimizer.lr: 'interval(1e-4, 1e-2)'}"
    search = read_file("finetune", text, "budget.epochs=choice(4, 8)")
    assert search.space.dimensions[0] == Choice("budget.epochs", (4, 8))
    assert len(search.space.dimensions) == 2


def test_a_value_of_the_command_is_where_the_search_starts():
    search = read("finetune", "optimizer.lr=interval(1e-3, 1e-2)", "optimizer.lr=0.004")
    assert search.current == {"optimizer.lr": 0.004}


def test_a_choice_in_force_is_where_the_search_starts():
    search = read("pretrain", "experiment=software", "optimizer=adamw,muon")
    assert search.current == {"optimizer": "muon"}


def test_the_first_trial_is_the_configuration_as_it_is():
    search = read("finetune", "experiment=area", "search=finetune")
    composed = compose("finetune", [*NEEDED["finetune"], "experiment=area"])
    assert search.config_of(search.current) == composed


def test_a_start_may_be_searched_with_what_is_of_it_in_branches(read_file):
    search = read_file(
        "finetune",
        """
        space:
          start: choice(domain, general)
        branches:
          start=domain: {starts.domain.epochs: 'range(4, 12)'}
          start=general: {starts.general.frozen_layers: 'choice(0, 1, 2)'}
        """,
        "start=general",
    )
    frozen = Choice("starts.general.frozen_layers", (0, 1, 2))
    assert search.space.branches[1] == Branch("start", "general", (frozen,))
    assert search.current == {"start": "general", "starts.general.frozen_layers": 1}
    assert search.start_of({"start": "domain"}) == "domain"
    assert search.start_of({}) == "general"
    config = search.config_of({"start": "domain", "starts.domain.epochs": 5})
    overrides = [*NEEDED["finetune"], *as_overrides({"starts.domain.epochs": 5})]
    assert config == compose("finetune", overrides)


def test_a_group_below_starts_may_be_searched():
    search = read("finetune", "start@starts.domain=domain,scratch")
    config = search.config_of({"start@starts.domain": "scratch"})
    assert config["starts"]["domain"]["weights"] == "new"


def test_a_null_may_be_an_option_where_the_class_takes_it():
    search = read(
        "pretrain", "experiment=software", "objective.final_select_fraction=null,0.15,0.3"
    )
    assert search.current == {"objective.final_select_fraction": 0.15}


def test_whole_numbers_may_stand_where_the_class_takes_fractions():
    search = read("pretrain", "objective=rtd", "objective.discriminator_weight=interval(20, 60)")
    assert search.current == {"objective.discriminator_weight": 50}


def test_overrides_are_sorted_by_whose_they_are():
    given = sorted_out(
        ["domain=a", "n_trials=5", "sampler.n_startup_trials=3", "start=general", "seed=1,2"]
    )
    assert given.door == ("domain=a",)
    assert given.sweep == ("n_trials=5", "sampler.n_startup_trials=3")
    assert given.searched == ("seed=1,2",)
    assert compose_sweep(given)["start"] == "general"


@pytest.mark.parametrize(
    ("door", "overrides", "said"),
    [
        ("finetune", ["n_trials=5,9"], r"a key of the sweep itself(.|\n)*n_trials=\[a,b\]"),
        ("finetune", ["[x"], r"is not in Hydra's grammar(.|\n)*<key>=<value>"),
        ("finetune", [], r"no dimensions(.|\n)*search=<name> \(finetune"),
        (
            "finetune",
            ["search=fintune"],
            r"conf/search has no choice(.|\n)*did you mean `finetune`",
        ),
        ("finetune", ["n_trails=5", "seed=1,2"], r"neither of conf/sweep(.|\n)*mean `n_trials`"),
        ("finetune", ["seeed=5", "optimizer.lr=interval(0,1)"], r"`seeed`(.|\n)*mean `seed`"),
        ("finetune", ["optimizer.lrr=1,2"], r"`optimizer.lrr`(.|\n)*did you mean `optimizer.lr`"),
        ("finetune", ["scedule=a,b"], r"`scedule` is not a key(.|\n)*did you mean `schedule`"),
        ("finetune", ["gates=staging,production"], r"`gates` is not a key of conf/finetune"),
        ("finetune", ["start@starts.x=domain,scratch"], r"`start@starts.x` is not a key"),
        ("pretrain", ["optimizer=adamw,mion"], r"no choice `mion`(.|\n)*did you mean `muon`"),
        ("pretrain", ["optimizer=1,2"], r"conf/optimizer has no choice `1`"),
        ("pretrain", ["optimizer=range(1,4)"], r"chooses a file of conf/optimizer(.|\n)*glob"),
        (
            "pretrain",
            ["budget=choice(1,2)"],
            r"`budget` is not one value(.|\n)*below it: budget.total_steps",
        ),
        ("pretrain", ["mixture.replay=1,2"], r"`mixture.replay` is not one value"),
        ("finetune", ["budget.epochs=interval(2,8)"], r"int\(interval\(2, 8\)\) or range\(2, 9\)"),
        ("finetune", ["budget.epochs=choice(2,2.5)"], r"takes whole numbers(.|\n)*`2.5` is none"),
        (
            "finetune",
            ["optimizer.lr=choice(0.001,high)"],
            r"takes numbers(.|\n)*`high` is none(.|\n)*numbers alone",
        ),
        ("finetune", ["optimizer.lr=choice(0.001,true)"], r"takes numbers(.|\n)*`true` is none"),
        ("finetune", ["optimizer.lr=null,0.001"], r"takes numbers(.|\n)*`null` is none"),
        ("pretrain", ["objective.masking=range(1,3)"], r"takes words, and is whole numbers"),
        ("finetune", ["optimizer.lr=interval(0.1,0.2)"], r"0.001 in the conf(.|\n)*=0.1\.$"),
        ("finetune", ["budget.epochs=range(3,10,2)"], r"and 8 in the configuration as it is"),
        ("pretrain", ["budget.total_tokens=range(9,99)"], r"and null in the configuration"),
        ("pretrain", ["objective.masking=choice(span,whole_word)"], r"let the search hold token"),
        ("finetune", ["seed=1,2"], r"`seed` cannot be searched(.|\n)*confirmation_seeds"),
        ("finetune", ["domain=a,b"], r"`domain` cannot be searched(.|\n)*each by itself"),
        ("finetune", ["trainer.threads=1,2"], r"`trainer.threads` cannot be searched"),
        ("finetune", ["task=classification,entities"], r"`task` cannot be searched"),
        ("finetune", ["task.baseline.word_ngrams=1,2"], r"no trial trains the baseline"),
        ("finetune", ["starts.general.lr=interval(1e-5,1e-3)"], r"`domain`(.|\n)*start=general\."),
        ("finetune", ["start@starts.general=general,scratch"], r"the start `domain`"),
        (
            "finetune",
            ["start=domain,general", "starts.general.lr=interval(1e-5,1e-3)"],
            r"one of several starts(.|\n)*in the branch start=general",
        ),
        ("finetune", ["start=domain,generel"], r"`generel` is no start(.|\n)*mean `general`"),
        (
            "finetune",
            ["start=x", "optimizer.lr=interval(0,1)"],
            r"`x` is no start of conf/finetune",
        ),
        ("finetune", ["start=scratch", "start=domain,general"], r"and scratch in the conf"),
        ("pretrain", ["start=domain,general"], r"pretraining does not have(.|\n)*`weights`"),
        ("pretrain", ["start=domain", "optimizer.lr=interval(0,1)"], r"pretrain has no starts"),
        ("finetune", ["seed=1,2", "seed=3,4"], r"`seed` is searched twice by the command"),
        (
            "finetune",
            ["starts.domain.dropout=interval(0.0,1.0)"],
            r"A trial with starts.domain.dropout=1.0 cannot train: A start with(.|\n)*below 1",
        ),
        (
            "pretrain",
            ["model.heads=choice(2,3)"],
            r"A trial with model.heads=3 cannot train: model.width 128 is not a multiple",
        ),
        (
            "pretrain",
            ["objective.masking=choice(token,spam)"],
            r"A trial with objective.masking=spam cannot train(.|\n)*did you mean `span`",
        ),
        (
            "pretrain",
            ["budget.total_tokens=4096", "optimizer.lr=interval(1e-4,1e-2)"],
            r"The first trial cannot train: The budget needs one length",
        ),
        (
            "pretrain",
            ["optimizer=adamw,muon", "experiment=software", "optimizer.matrix_lr=interval(1e-3,1)"],
            r"optimizer=adamw has no `optimizer.matrix_lr`(.|\n)*to the branch of a choice",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_trial(door, overrides, said):
    with pytest.raises(ConfigError, match=said):
        read(door, *overrides)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spaces: {}", r"no part `spaces`(.|\n)*did you mean `space`"),
        ("space: [optimizer.lr]", r"`space` of the search(.|\n)*<key>: <sweep>"),
        ("space: {optimizer.lr: 0.1}", r"`optimizer.lr: 0.1` in `space` of the search is no sweep"),
        ("space: {optimizer.lr: '0.1'}", r"is one value"),
        ("space: {}", r"no dimensions"),
        (
            "space:\n  seed: 1,2\n  seed: 3,4",
            r"`seed` stands twice in conf/search/mine.yaml(.|\n)*3",
        ),
        ("branches: {'optimizer=adamw,muon': {}}", r"does not say of which choice"),
        ("branches: {optimizer: {}}", r"`optimizer` (is not in|does not say)"),
        ("branches: {'optimizer=muon': {optimizer.lr: 1}}", r"in `optimizer=muon` of the search"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(read_file, text, said):
    with pytest.raises(ConfigError, match=said):
        read_file("pretrain", text)


TWO = "space:\n  optimizer: choice(adamw, muon)\n  schedule: choice(warmup_cosine, warmup_linear)\n"


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        (
            {"optimizr=muon": "optimizer.lr: 'interval(0,1)'"},
            r"hangs on `optimizr`(.|\n)*`optimizer`",
        ),
        ({"optimizer=mion": "optimizer.lr: 'interval(0,1)'"}, r"is never taken(.|\n)*mean `muon`"),
        ({"optimizer=muon": ""}, r"has no dimensions"),
        (
            {"optimizer=adamw": "optimizer.matrix_lr: 'interval(0.001,1)'"},
            r"`optimizer.matrix_lr` is not a key of conf/pretrain.yaml with optimizer=adamw",
        ),
        (
            {
                "optimizer=muon": "optimizer.lr: 'interval(0.001,1)'",
                "schedule=warmup_linear": "optimizer.lr: 'interval(0.1,1)'",
            },
            r"twice: in the branch optimizer=muon and in the branch schedule=warmup_linear",
        ),
        (
            {"optimizer=muon": "schedule: 'choice(warmup_cosine, warmup_linear)'"},
            r"`schedule` is searched twice: in the space and in the branch optimizer=muon",
        ),
    ],
)
def test_what_is_wrong_with_a_branch_is_said(read_file, branches, said):
    lines = [f"  {condition}: {{{below}}}" for condition, below in branches.items()]
    with pytest.raises(ConfigError, match=said):
        read_file("pretrain", TWO + "\n".join(["branches:", *lines]))


def test_a_branch_on_an_interval_is_refused(read_file):
    branches = "branches: {optimizer.lr=0.5: {model.depth: '1,2'}}"
    text = "space: {optimizer.lr: 'interval(0, 1)'}\n" + branches
    with pytest.raises(ConfigError, match=r"hangs on an interval"):
        read_file("pretrain", text)
