"""What is read of conf/ without Hydra, beside what Hydra composes."""

import shutil
from pathlib import Path

import pytest

from vertiform.cli.compose import compose, read_plain
from vertiform.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def conf(tmp_path, monkeypatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf"


@pytest.mark.parametrize("tracking", ["local", "server"])
def test_a_plain_reading_says_what_hydra_would(conf, tracking, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    composed = compose("promote", ["domain=any", "task.name=any", f"tracking={tracking}"])
    plain = read_plain("promote", {"domain": "any"}, tracking=tracking)
    assert plain == {key: composed[key] for key in plain}
    assert {"events", "tracking"} <= set(plain)


def test_a_choice_that_does_not_exist_names_the_nearest(conf):
    with pytest.raises(ConfigError, match="did you mean `local`"):
        read_plain("promote", {"domain": "any"}, tracking="loca")


def test_a_value_that_is_not_given_is_named(conf):
    with pytest.raises(ConfigError, match="`domain` was not given"):
        read_plain("promote", {}, tracking="local")


def test_a_server_whose_address_is_not_set_is_said(conf, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="export MLFLOW_TRACKING_URI"):
        read_plain("promote", {"domain": "any"}, tracking="server")


def test_a_password_in_an_address_is_refused(conf, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:1")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_USERNAME") as error:
        read_plain("promote", {"domain": "any"}, tracking="server")
    assert "secret" not in str(error.value)


def test_outside_of_a_project_the_root_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="from the root of the project"):
        read_plain("promote", {"domain": "any"}, tracking="local")
