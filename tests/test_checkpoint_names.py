"""The name of a checkpoint leads to its folder, or to one clear line."""

import pytest

from vertiform.checkpoint_names import TOKENIZER_FILES, checkpoint_folder
from vertiform.errors import ConfigError


def test_a_checkpoint_is_found_as_a_folder_and_in_a_package_that_is_not_imported(
    tmp_path, monkeypatch
):
    package = tmp_path / "carries_weights"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "model" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    assert checkpoint_folder("package:carries_weights/model") == package / "model"
    assert checkpoint_folder(str(package)) == package
    with pytest.raises(ConfigError, match=r"no folder `modl`(.|\n)*carries_weights/model\."):
        checkpoint_folder("package:carries_weights/modl")


@pytest.mark.parametrize("name", ["package:no_such_package/model"])
def test_a_package_that_is_not_installed_says_how_to_get_it(name):
    with pytest.raises(ConfigError, match=r"is not installed(.|\n)*\.\[demo\]"):
        checkpoint_folder(name)


@pytest.mark.parametrize("name", ["./models/here", "/models/here", "models/software/pretain"])
def test_a_path_that_does_not_exist_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ConfigError, match=r"folder \S+ does not exist"):
        checkpoint_folder(name)


def test_the_tokens_of_another_domain_that_are_not_there_yet_name_the_command():
    # DVC cannot order two domains by a name in params.yaml.
    with pytest.raises(ConfigError, match=r"Fix: run `dvc repro tokenize@health` first"):
        checkpoint_folder("data/health/tokens")


def test_a_checkpoint_the_hub_does_not_give_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"no folder here, and .* hub did not give it"):
        checkpoint_folder("nobody/nothing")


def test_the_hub_is_not_asked_unless_that_is_allowed():
    with pytest.raises(ConfigError, match=r"was not asked(.|\n)*Fix: set online: true"):
        checkpoint_folder("nobody/nothing", files=TOKENIZER_FILES, online=False)


@pytest.mark.parametrize("name", ["models:/software-area@staging", "runs:/0f3a/model"])
def test_a_model_in_mlflow_is_not_taken_for_a_name_on_the_hub(name):
    with pytest.raises(ConfigError, match=r"is a model in MLflow"):
        checkpoint_folder(name)


@pytest.mark.parametrize(
    "name", ["package:json/../os", "package:json//etc", "package:os.path/x", "package:/x"]
)
def test_a_name_that_leads_out_of_its_package_is_refused(name):
    with pytest.raises(ConfigError, match="does not name a folder inside a package"):
        checkpoint_folder(name)
