"""What a stranger put into MLflow: read as numbers and text, never run, never out of its folder."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracking.examples import REBUILD, a_run, registered, tiny_bundle
from vertiform.errors import TrackingError, TrainingError
from vertiform.files import sha256_of, write_json
from vertiform.inference.predictor import Predictor
from vertiform.tracking.model_files import (
    BUNDLE,
    FILES,
    FILES_SHA256,
    check_files,
    read_back,
    write_file_list,
)
from vertiform.tracking.registry import download_bundle, find_version, resolve
from vertiform.tracking.starts import fetch_start

OUTSIDE = [
    "../secret",
    "/etc/passwd",
    "a/../../secret",
    "..\\secret",
    "C:\\secret",
    "%2e%2e/secret",
]


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it-ran"


@pytest.fixture
def pickled(tmp_path, marker):
    """The folder of an MLflow model of a stranger's, whose Python object is a pickle."""
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Payload(marker)))
    flavor = "loader_module: mlflow.pyfunc.model\n    python_model: python_model.pkl"
    text = f"flavors:\n  python_function:\n    {flavor}\n    cloudpickle_version: 3.1.2\n"
    (folder / "MLmodel").write_text(f"{text}mlflow_version: 3.17.2\n")
    return folder


@pytest.mark.slow
def test_mlflow_itself_refuses_a_pickle_where_a_door_of_ours_prepared_it(pickled, marker):
    allow = "import os; os.environ['MLFLOW_ALLOW_PICKLE_DESERIALIZATION'] = 'true'"
    ours = "from vertiform.doors import prepare_environment; prepare_environment()"
    load = f"import mlflow.pyfunc; mlflow.pyfunc.load_model({str(pickled)!r})"
    subprocess.run([sys.executable, "-c", f"{allow}; {load}"], capture_output=True)
    assert marker.exists()  # so the payload would have run
    marker.unlink()
    done = subprocess.run([sys.executable, "-c", f"{ours}; {load}"], capture_output=True, text=True)
    assert not marker.exists()
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" in done.stderr


def test_a_version_that_vertiform_did_not_register_is_not_read(store, pickled, marker, tmp_path):
    version = version_of(store, pickled, tags={})
    with pytest.raises(TrackingError, match="was not registered by Vertiform"):
        download_bundle(store, version, into=tmp_path / "here")
    assert not marker.exists()


def test_a_version_made_to_look_like_ours_is_read_and_its_pickle_is_not_run(
    store, pickled, marker, tmp_path
):
    tiny_bundle(tmp_path)
    shutil.copytree(tmp_path / "model", pickled / BUNDLE)
    (pickled / BUNDLE / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    version = version_of(store, pickled, tags={FILES_SHA256: write_file_list(pickled)})
    here = download_bundle(store, version, into=tmp_path / "here")
    assert Predictor.load(here).predict(["w1 w2"])
    (here / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match="is not what was written"):
        Predictor.load(here)
    assert not marker.exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_list_of_files_that_leads_outside_is_refused(tmp_path, name):
    (tmp_path / "weights").write_bytes(b"weights")
    files = {name: "0" * 64, "weights": sha256_of(tmp_path / "weights")}
    write_json(tmp_path / FILES, {"files": files, "bytes": 7})
    with pytest.raises(TrackingError, match="names a file outside of its folder"):
        check_files(
            tmp_path, expected_sha256=sha256_of(tmp_path / FILES), model="m", rebuild=REBUILD
        )


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_bundle_that_leads_outside_is_refused(tmp_path, name):
    tiny_bundle(tmp_path)
    facts = tmp_path / "model" / "task.json"
    values = json.loads(facts.read_text())
    facts.write_text(json.dumps(values | {"sha256": values["sha256"] | {name: "0" * 64}}))
    with pytest.raises(TrainingError, match="names a file outside of itself"):
        Predictor.load(tmp_path / "model")


@pytest.mark.parametrize(
    "reference",
    ["runs:/0f3a/../x", "runs:/0f3a/model/../../x", "runs:/0f3a/%2e%2e/x", "runs:/../x"],
)
def test_a_reference_to_a_run_that_climbs_is_refused(store, tmp_path, reference):
    with pytest.raises(TrackingError, match="does not name a model of a run"):
        fetch_start(store, reference, into=tmp_path)


@pytest.mark.parametrize("reference", ["models:/a/../b", "models:/a/../b@staging", "../a@staging"])
def test_a_reference_to_a_version_that_climbs_is_refused(store, tmp_path, reference):
    with pytest.raises(TrackingError, match="does not name a version of a model"):
        resolve(store, reference)
    with pytest.raises(TrackingError, match="does not name a"):
        fetch_start(store, reference, into=tmp_path)


def test_a_version_whose_files_are_said_to_lie_elsewhere_is_not_followed(store, tmp_path):
    version = registered(store, tmp_path)
    location = store.client.get_model_version_download_uri(version.name, str(version.number))
    for climbing in (f"{location}/../../other", f"{location}/%2e%2e/other"):
        with pytest.raises(TrackingError, match="in an address is not followed"):
            with read_back(store, climbing, files_sha256="", model="m", rebuild=REBUILD):
                pass


@pytest.mark.parametrize("name", ["../outside", "/tmp/vertiform-outside", "a/../../outside"])
def test_an_artifact_is_not_written_outside_of_its_run(store, tmp_path, name):
    with pytest.raises(TrackingError, match=r"leads out of the run's folder(.|\n)*Fix: give a"):
        with a_run(store) as run:
            run.log_text("text", name)
    assert not list(tmp_path.rglob("*outside"))
    assert not Path("/tmp/vertiform-outside").exists()


def version_of(store, folder: Path, *, tags: dict[str, str]):
    """Register a folder as a stranger would, by MLflow alone."""
    store.client.create_registered_model("stranger")
    with a_run(store) as run:
        run.log_file(folder, folder="model")
    source = f"{store.client.get_run(run.id).info.artifact_uri}/model"
    store.client.create_model_version("stranger", source, run_id=run.id, tags=tags)
    return find_version(store, "stranger", 1)
