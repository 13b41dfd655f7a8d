"""What goes from a real store, and what came back into use meanwhile and stays."""

from dataclasses import replace

import pytest

from tests.tracking.examples import a_run, logged_model, registered
from vertiform.errors import TrackingError
from vertiform.tracking.index import ask
from vertiform.tracking.inventory import read_inventory
from vertiform.tracking.registry import register
from vertiform.tracking.removal import erase_runs, remove_runs, remove_versions, size_of_run


def test_a_deleted_run_can_be_restored_with_its_files(store):
    with a_run(store) as run:
        run.log_text("kept", "note.txt")
    assert remove_runs(store, read_inventory(store).runs.values()) == 1
    assert read_inventory(store).runs[run.id].is_deleted
    store.client.restore_run(run.id)
    assert [file.path for file in store.client.list_artifacts(run.id) if "note" in file.path]


def test_a_run_that_went_is_listed_no_more(store):
    with a_run(store):
        pass
    assert num_listed(store) == 1
    remove_runs(store, read_inventory(store).runs.values())
    assert num_listed(store) == 0


def num_listed(store) -> int:
    return ask(store, lambda answers: answers.count(), root=store.root)


def test_a_run_that_is_deleted_already_is_passed_over(store):
    with a_run(store) as run:
        pass
    store.client.delete_run(run.id)
    assert remove_runs(store, read_inventory(store).runs.values()) == 0


def test_a_run_that_was_registered_meanwhile_stays(store, tmp_path):
    model = logged_model(store, tmp_path)
    going = read_inventory(store).runs
    register(store, "software-area", model, card="", rebuild="dvc repro", tags={})
    assert remove_runs(store, going.values()) == 0


def test_a_version_that_was_given_an_alias_meanwhile_stays(store, tmp_path):
    version = registered(store, tmp_path)
    store.client.delete_registered_model_alias(version.name, "candidate")
    going = read_inventory(store).versions
    store.client.set_registered_model_alias(version.name, "staging", "1")
    assert remove_versions(store, going.values()) == 0
    store.client.delete_registered_model_alias(version.name, "staging")
    assert remove_versions(store, going.values()) == 1


def test_an_erased_run_takes_its_files_and_models_along_and_nothing_else(store, tmp_path):
    kept = registered(store, tmp_path / "kept")
    gone = logged_model(store, tmp_path / "gone", weights=b"other")
    inventory = read_inventory(store)
    going = [inventory.runs[gone.run_id]]
    assert size_of_run(store, going[0]) > 0
    remove_runs(store, going)
    assert erase_runs(store, going, inventory) == 1
    left = read_inventory(store)
    assert set(left.runs) == {kept.run_id}
    assert size_of_run(store, going[0]) == 0
    models = store.client.search_logged_models(
        [store.experiment_id("software")], filter_string=None
    )
    assert [model.model_id for model in models] == [kept.model_id]


def test_what_others_deleted_is_not_erased_along_with_what_goes(store):
    """As `mlflow gc --run-ids` would do with every experiment that is deleted."""
    with a_run(store, experiment="other") as others:
        pass
    with a_run(store) as run:
        pass
    inventory = read_inventory(store)
    store.client.delete_experiment(store.experiment_id("other"))
    going = [inventory.runs[run.id]]
    remove_runs(store, going)
    erase_runs(store, going, inventory)
    assert set(read_inventory(store).runs) == {others.id}


def test_a_run_that_is_not_deleted_is_never_erased(store):
    with a_run(store) as run:
        pass
    inventory = read_inventory(store)
    assert erase_runs(store, [inventory.runs[run.id]], inventory) == 0
    assert set(read_inventory(store).runs) == {run.id}


def test_a_server_lets_nobody_erase_from_outside(store):
    inventory = read_inventory(store)
    with pytest.raises(TrackingError, match=r"is a server.*\n.*leave out --permanently"):
        erase_runs(replace(store, artifacts=None), [], inventory)
