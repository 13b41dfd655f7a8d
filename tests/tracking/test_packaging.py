import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

from tests.tracking.examples import (
    PREDICTIONS,
    REBUILD,
    a_lock,
    a_run,
    logged_model,
    promoted,
    tiny_bundle,
)
from tests.tracking.servers import free_port, started
from vertiform.errors import TrackingError
from vertiform.tracking.packaging import (
    BUNDLE,
    EXAMPLE_PREDICTIONS,
    example_difference,
    log_model,
    pinned_requirements,
)
from vertiform.tracking.registry import register, resolve, verified_files
from vertiform.tracking.served_code import PACKAGES, foreign_packages, served_modules

TEXTS = ["w1 w2 w3", "w40 w41", "w7"]


def test_a_logged_model_holds_card_bundle_example_and_pins_and_nothing_of_this_machine(
    store, tmp_path
):
    folder = Path(logged_model(store, tmp_path).location)
    assert (folder / "README.md").read_text() == "# A model\n"
    assert (folder / BUNDLE / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((folder / "input_example.json").read_text()) == ["open a socket"]
    assert json.loads((folder / EXAMPLE_PREDICTIONS).read_text()) == PREDICTIONS
    assert "torch==2.13.0" in (folder / "requirements.txt").read_text().splitlines()
    assert (
        f"tqdm=={metadata.version('tqdm')}" in (folder / "constraints.txt").read_text().splitlines()
    )
    texts = [
        path.read_text()
        for path in folder.rglob("*")
        if path.suffix != ".safetensors" and path.is_file()
    ]
    assert not [text for text in texts if str(tmp_path) in text or "/tmp" in text]


def test_a_logged_model_has_a_signature_from_type_hints_and_a_readable_example(store, tmp_path):
    from mlflow.models import Model

    folder = logged_model(store, tmp_path).location
    model = Model.load(folder)
    assert str(model.signature.inputs) == "[string (required)]"
    assert "Map(" in str(model.signature.outputs)
    assert model.load_input_example(folder) == ["open a socket"]
    assert model.metadata == {"task": "area"}


def test_a_logged_model_belongs_to_its_run_and_is_ready(store, tmp_path):
    model = logged_model(store, tmp_path)
    found = store.client.get_logged_model(model.model_id)
    assert (str(found.status), found.source_run_id) == ("READY", model.run_id)
    outputs = store.client.get_run(model.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]


def test_a_model_that_could_not_be_written_is_failed_in_mlflow(store, tmp_path):
    def log(run):
        log_model(
            run, tmp_path / "no such bundle", name="m", card="", example_inputs=[],
            example_predictions=[], lock=a_lock(tmp_path), facts={}, rebuild=REBUILD,
        )  # fmt: skip

    with a_run(store) as run, pytest.raises(Exception, match="no such bundle"):
        log(run)
    (model,) = store.client.search_logged_models([store.experiment_id("software")])
    assert str(model.status) == "FAILED"


def test_a_lock_without_what_serving_needs_says_which(tmp_path):
    lock = a_lock(tmp_path)
    lock.write_text(lock.read_text().replace("torch==2.13.0+cpu\n", ""))
    with pytest.raises(TrackingError, match=r"does not pin torch.*\n.*make lock"):
        pinned_requirements(lock)


def test_the_code_that_is_served_needs_only_the_packages_that_are_pinned():
    modules = served_modules()
    assert "vertiform.inference.predictor" in modules
    assert not [name for name in modules if name.split(".")[1:2] in (["training"], ["tracking"])]
    assert foreign_packages(modules.values()) - sys.stdlib_module_names <= set(PACKAGES)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


def real_model(store, tmp_path, bundle):
    from vertiform.inference.predictor import Predictor

    answers = Predictor.load(bundle).predict(TEXTS)
    with a_run(store) as run:
        model = log_model(
            run, bundle, name="software-area", card="# A model\n", example_inputs=TEXTS,
            example_predictions=answers, lock=a_lock(tmp_path), facts={}, rebuild=REBUILD,
        )  # fmt: skip
    return model, answers


@pytest.mark.slow
def test_a_real_model_predicts_its_example_as_it_did(store, tmp_path, bundle):
    model, _ = real_model(store, tmp_path, bundle)
    assert example_difference(Path(model.location)) == 0.0


@pytest.mark.slow
def test_another_networks_answers_differ_by_a_number_and_other_labels_by_infinity(
    store, tmp_path, bundle
):
    folder = Path(real_model(store, tmp_path, bundle)[0].location)
    stored = json.loads((folder / EXAMPLE_PREDICTIONS).read_text())
    stored[0]["confidence"] -= 0.25
    (folder / EXAMPLE_PREDICTIONS).write_text(json.dumps(stored))
    assert example_difference(folder) == pytest.approx(0.25)
    stored[0]["label"] = "other"
    (folder / EXAMPLE_PREDICTIONS).write_text(json.dumps(stored))
    assert example_difference(folder) == float("inf")


@pytest.mark.slow
def test_mlflow_serves_what_stands_at_staging_and_it_answers_as_the_predictor_does(
    store, tmp_path, bundle
):
    model, answers = real_model(store, tmp_path, bundle)
    version = register(store, "software-area", model, card="", rebuild=REBUILD, tags={})
    promoted(store, version)
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
        *("-m", "models:/software-area@staging", "--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # MLflow calls `uvicorn`
        "MLFLOW_TRACKING_URI": store.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with started(command, port=port, path="/ping", cwd=elsewhere, environment=environment):
        served = post(port, {"inputs": TEXTS})
        assert served["predictions"] == answers
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(port, {"texts": TEXTS})
        assert refused.value.code == 400
    with verified_files(store, resolve(store, "software-area@staging")):
        pass  # serving left the files as they were


@pytest.mark.slow
def test_a_model_loads_with_the_code_it_was_logged_with(store, tmp_path, bundle):
    model, answers = real_model(store, tmp_path, bundle)
    code = (
        "import json, sys, mlflow.pyfunc\n"
        "answers = mlflow.pyfunc.load_model(sys.argv[1]).predict(json.loads(sys.argv[2]))\n"
        "import vertiform.inference.predictor as used\n"
        "print(json.dumps([answers, used.__file__]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, model.location, json.dumps(TEXTS)],
        env=os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    said, used = json.loads(done.stdout.splitlines()[-1])
    assert said == answers
    assert Path(used).is_relative_to(Path(model.location) / "code")


def post(port: int, body: dict) -> dict:
    """Send JSON to /invocations and return what came back."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
