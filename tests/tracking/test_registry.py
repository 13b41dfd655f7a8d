import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.examples import REBUILD, logged_model, registered
from tests.tracking.races import Step, Stopped
from vertiform.errors import TrackingError
from vertiform.tracking.model_files import LoggedModel
from vertiform.tracking.registry import (
    all_versions,
    download_bundle,
    find_version,
    register,
    resolve,
    verified_files,
)


def folder_of(store, version) -> Path:
    with verified_files(store, version) as folder:
        return folder


def test_a_registered_model_is_a_candidate_with_its_proof_as_tags(store, tmp_path):
    version = registered(store, tmp_path)
    assert (version.number, version.aliases) == (1, ("candidate",))
    assert version.tags["rebuild"] == REBUILD
    assert version.tags["data"] == "abc"
    assert store.client.get_model_version("software-area", "1").status == "READY"


def test_registering_again_makes_the_next_version_the_candidate(shelf):
    first, second = shelf.next_version(), shelf.next_version()
    assert (second.number, second.aliases) == (2, ("candidate",))
    assert find_version(shelf.store, shelf.name, first.number).aliases == ()
    assert len(all_versions(shelf.store, shelf.name)) == 2


def test_a_version_is_found_by_alias_or_number_with_or_without_a_scheme(shelf):
    version = shelf.next_version()
    for named in (f"{shelf.name}@candidate", f"{shelf.name}/1"):
        assert resolve(shelf.store, named) == version
        assert resolve(shelf.store, f"models:/{named}") == version


@pytest.mark.parametrize("reference", ["software-area", "software-area@", "", "a/b/c"])
def test_a_reference_that_names_no_version_says_what_to_write(store, reference):
    with pytest.raises(TrackingError, match="software-area@staging"):
        resolve(store, reference)


def test_a_misspelt_model_alias_or_version_gets_a_hint(store, tmp_path):
    registered(store, tmp_path)
    with pytest.raises(TrackingError, match="did you mean `software-area`"):
        resolve(store, "sofware-area@candidate")
    with pytest.raises(TrackingError, match="did you mean `candidate`"):
        resolve(store, "software-area@candidat")
    with pytest.raises(TrackingError, match="choose one of its versions: 1"):
        resolve(store, "software-area/7")


def test_an_empty_registry_says_what_fills_it(store):
    with pytest.raises(TrackingError, match="dvc repro"):
        resolve(store, "software-area@staging")


def test_a_model_whose_files_are_gone_is_refused_with_the_command_that_rebuilds_it(store, tmp_path):
    version = registered(store, tmp_path)
    shutil.rmtree(folder_of(store, version))
    with (
        pytest.raises(TrackingError, match=f"has no files at .*\n.*{REBUILD}"),
        verified_files(store, version),
    ):
        pass


def test_registering_files_that_changed_since_they_were_logged_gives_no_alias(store, tmp_path):
    model = logged_model(store, tmp_path)
    weights = Path(model.location) / "artifacts" / "bundle" / "model.safetensors"
    weights.write_bytes(b"others")
    with pytest.raises(TrackingError, match="changed after it was logged"):
        register(store, "software-area", model, card="", rebuild=REBUILD, tags={})
    assert store.client.get_registered_model("software-area").aliases == {}


def test_a_version_registered_by_other_means_is_not_believed(store, tmp_path):
    store.client.create_registered_model("other")
    store.client.create_model_version("other", source=str(tmp_path))
    with (
        pytest.raises(TrackingError, match="not registered by Vertiform"),
        verified_files(store, find_version(store, "other", 1)),
    ):
        pass


def test_the_bundle_comes_down_whole(store, tmp_path):
    version = registered(store, tmp_path, weights=b"some weights")
    bundle = download_bundle(store, version, into=tmp_path / "here")
    assert (bundle / "model.safetensors").read_bytes() == b"some weights"
    assert sorted(path.name for path in bundle.iterdir()) == ["model.safetensors", "task.json"]


def test_a_model_that_was_logged_knows_its_size_and_hash(store, tmp_path):
    model = logged_model(store, tmp_path, weights=b"x" * 100_000)
    assert isinstance(model, LoggedModel)
    assert model.size_bytes > 100_000
    assert len(model.files_sha256) == 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "at"),
    [
        (Step("create_model_version"), 1),
        (Step("create_model_version", after=True), 1),
        (Step("set_registered_model_alias", "candidate"), 1),
        (Step("set_registered_model_alias", "candidate", after=True), 2),
    ],
    ids=str,
)
def test_a_process_killed_while_it_registers_leaves_no_alias_at_half_a_version(
    shelf, tmp_path, step, at
):
    first = shelf.next_version()
    assert first.number == 1

    def register_next(store):
        return replace(shelf, store=store).next_version().number

    Stopped(shelf.store.uri, register_next, tmp_path, step).kill()
    standing = resolve(shelf.store, f"{shelf.name}@candidate")
    assert standing.number == at
    assert folder_of(shelf.store, standing).is_dir()
    assert shelf.next_version().aliases == ("candidate",)
