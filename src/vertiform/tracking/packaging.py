"""Logs a trained bundle as an MLflow model that loads anywhere, runs no pickle and is verified."""

import json
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.errors import TrackingError
from vertiform.files import read_json, write_json
from vertiform.tracking.model_files import (
    BUNDLE,
    FILES_SHA256,
    LoggedModel,
    read_back,
    write_file_list,
)
from vertiform.tracking.runs import Run
from vertiform.tracking.served_code import PACKAGES, copy_served_code
from vertiform.tracking.store import errors_named

if TYPE_CHECKING:
    from mlflow.models import Model

CARD = "README.md"
EXAMPLE = "input_example.json"  # MLflow's own name
EXAMPLE_PREDICTIONS = "example_predictions.json"
SCRIPT = "served_model.py"


def log_model(
    run: Run,
    bundle: Path,
    *,
    name: str,
    card: str,
    example_inputs: Sequence[str],
    example_predictions: Sequence[Mapping[str, Any]],
    lock: Path,
    facts: Mapping[str, str],
    rebuild: str,
) -> LoggedModel:
    """Log the folder `bundle` as a model of `run`, and read every byte of it back.

    card: markdown, kept as README.md. example_predictions: what Predictor says to example_inputs.
    lock: requirements.lock, which pins what a server must install. facts: short metadata.
    rebuild: the command that makes the model again, for whoever finds it damaged.
    """
    from mlflow.entities import LoggedModelOutput

    client = run.store.client
    with errors_named(run.store.uri), tempfile.TemporaryDirectory() as aside:
        experiment_id = client.get_run(run.id).info.experiment_id
        logged = client.create_logged_model(
            experiment_id,
            name=name,
            source_run_id=run.id,
            params=dict(facts),
            model_type="vertiform",
        )
        try:
            folder = Path(aside) / "model"
            _save(folder, bundle, logged.model_id, run.id, lock=lock, facts=facts)
            (folder / CARD).write_text(card, encoding="utf-8")
            _write_example(folder, example_inputs, example_predictions)
            files_sha256 = write_file_list(folder)
            client.log_model_artifacts(logged.model_id, str(folder))
            location = logged.artifact_location
            with read_back(
                run.store,
                location,
                files_sha256=files_sha256,
                model=f"model {name}",
                rebuild=rebuild,
            ):
                pass
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.set_logged_model_tags(logged.model_id, {FILES_SHA256: files_sha256})
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
        size_bytes = read_json(folder / "files.json")["bytes"]
    return LoggedModel(logged.model_id, run.id, location, files_sha256, size_bytes)


def example_difference(folder: Path) -> float:
    """Load the model whose verified files are in `folder`, and let it predict its example again.

    Returns the largest difference of any number in its answers from what it said when it was
    logged: 0.0 is bit for bit. Infinite if anything but a number differs.
    """
    from vertiform.inference.predictor import Predictor

    again = Predictor.load(folder / BUNDLE).predict(read_json(folder / EXAMPLE))
    return _difference(json.loads(json.dumps(again)), read_json(folder / EXAMPLE_PREDICTIONS))


def pinned_requirements(lock: Path) -> tuple[list[str], list[str]]:
    """Read the lock; return the pins of what a served model imports, and the pins of everything.

    A build's own suffix (torch==2.13.0+cpu) is left out: the server's machine has its own build.
    """
    lines = lock.read_text(encoding="utf-8").splitlines()
    pins = [line.partition("+")[0] for line in lines if "==" in line and not line.startswith("#")]
    versions = {pin.partition("==")[0].lower(): pin for pin in pins}
    missing = [package for package in PACKAGES if package not in versions]
    if missing:
        raise TrackingError(
            f"{lock} does not pin {', '.join(missing)}, which a served model needs.",
            fix="run `make lock`.",
        )
    return [versions[package] for package in PACKAGES], pins


def _difference(one: Any, other: Any) -> float:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((_difference(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((_difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other)
    return 0.0 if one == other else math.inf


def _save(
    folder: Path, bundle: Path, model_id: str, run_id: str, *, lock: Path, facts: Mapping[str, str]
) -> None:
    """Write the MLflow model: script, code, bundle, requirements and MLmodel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of MLflow's own classes has a hint it warns about
        import mlflow.pyfunc
    from mlflow.models import Model

    model = Model(run_id=run_id, model_uuid=model_id, model_id=model_id, metadata=dict(facts))
    requirements, pins = pinned_requirements(lock)
    with tempfile.TemporaryDirectory() as aside:
        constraints = Path(aside) / "constraints.txt"
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=model,
            python_model=str(Path(__file__).with_name(SCRIPT)),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(copy_served_code(Path(aside)))],
            pip_requirements=[*requirements, f"-c {constraints}"],
        )
    _finish(model, folder)
    model.save(str(folder / "MLmodel"))


def _finish(model: "Model", folder: Path) -> None:
    """Put right what save_model says of the model: paths, signature, example."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Map, Schema

    # MLflow keeps a folder under the name it had, and writes where each file came from; neither
    # means anything to whoever loads the model.
    flavor = model.flavors["python_function"]
    (folder / flavor["artifacts"]["bundle"]["path"]).rename(folder / BUNDLE)
    flavor["artifacts"]["bundle"] = {"path": BUNDLE, "uri": BUNDLE}
    flavor["model_code_path"] = SCRIPT
    # What an answer holds differs by task. A hint in the script would say so too, with a warning
    # at every load that cannot be silenced.
    answers = Schema([ColSpec(Map(AnyType()))])
    model.signature = ModelSignature(inputs=model.signature.inputs, outputs=answers)
    # Given here and not to save_model, which would load the model to try the example.
    model.saved_input_example_info = {
        "artifact_path": EXAMPLE,
        "serving_input_path": "serving_input_example.json",
        "type": "json_object",
    }


def _write_example(
    folder: Path, inputs: Sequence[str], predictions: Sequence[Mapping[str, Any]]
) -> None:
    write_json(folder / EXAMPLE, list(inputs))
    write_json(folder / "serving_input_example.json", {"inputs": list(inputs)})
    # Through JSON as it will be read, so that a float is compared with what a file can hold.
    write_json(folder / EXAMPLE_PREDICTIONS, json.loads(json.dumps(list(predictions))))
