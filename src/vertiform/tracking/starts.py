"""Checkpoints that training starts from in MLflow: a registered version, or what a run left."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.errors import TrackingError, did_you_mean
from vertiform.files import folder_written_whole, leads_outside
from vertiform.tracking.model_files import (
    BUNDLE,
    FILES,
    FILES_SHA256,
    WRITTEN_LATER,
    read_back,
    write_file_list,
)
from vertiform.tracking.registry import REBUILD, resolve, verified_files
from vertiform.tracking.runs import Run
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

CHECKPOINT = "model"  # of a pretraining run: runs:/<run id>/model


@dataclass(frozen=True)
class FetchedStart:
    """A checkpoint from MLflow in a folder on this disk, every file checked by its hash.

    source: what it is for good, though an alias moves on: models:/<name>/<number>, or the run.
    sha256: of the list of its files and their hashes.
    """

    folder: Path
    source: str
    sha256: str


def log_checkpoint(run: Run, folder: Path, *, rebuild: str, name: str = CHECKPOINT) -> None:
    """Keep the checkpoint `folder` as runs:/<run id>/<name>, which is a start as it is.

    rebuild: the command that makes it again.
    """
    with tempfile.TemporaryDirectory() as aside:
        copied = Path(shutil.copytree(folder, Path(aside) / name))
        files_sha256 = write_file_list(copied)
        run.log_file(copied, folder=name)
    # After the files, which are read back as they arrive: an address with hashes is whole.
    run.set_tags({f"{name}.{FILES_SHA256}": files_sha256, f"{name}.{REBUILD}": rebuild})


def fetch_start(store: Store, reference: str, *, into: Path) -> FetchedStart:
    """Copy the checkpoint meant by models:/ or runs:/ to a folder of its own below `into`.

    Of a fine-tuned model this is the bundle, whose encoder any start can load. Raises TrackingError
    if there is no such model or run, or if a file is not what was logged.
    """
    if reference.startswith("models:/"):
        version = resolve(store, reference)
        with verified_files(store, version) as folder:
            files_sha256 = version.tags[FILES_SHA256]
            return _copied(folder / BUNDLE, into, version.uri, files_sha256)
    run_id, name = _parts(reference)
    run = _run(store, run_id)
    tags = run.data.tags
    if f"{name}.{FILES_SHA256}" in tags:
        location, inside = f"{run.info.artifact_uri}/{name}", ""
        files_sha256, rebuild = tags[f"{name}.{FILES_SHA256}"], tags[f"{name}.{REBUILD}"]
    else:
        location, files_sha256 = _logged_model(store, run, name)
        inside, rebuild = BUNDLE, "dvc repro -f"
    address = f"runs:/{run_id}/{name}"
    with read_back(
        store, location, files_sha256=files_sha256, model=address, rebuild=rebuild
    ) as folder:
        return _copied(folder / inside, into, address, files_sha256)


def _parts(reference: str) -> tuple[str, str]:
    parts = re.fullmatch(r"runs:/(?P<run_id>[\w-]+)/(?P<name>[^/].*?)/?", reference)
    if parts is None or leads_outside(parts["name"]):
        raise TrackingError(
            f"`{reference}` does not name a model of a run.",
            fix=f"write runs:/<run id>/{CHECKPOINT} for a pretrained one, or "
            "models:/<name>@<alias> for a registered one.",
        )
    return parts["run_id"], parts["name"]


def _run(store: Store, run_id: str) -> "MlflowRun":
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            run = store.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
    if run is None or run.info.lifecycle_stage == "deleted":
        state = "no" if run is None else "only a deleted"
        raise TrackingError(
            f"There is {state} run {run_id} in {store.name}.",
            fix="copy its id from the run's page (`make ui`) or from a receipt in reports/.",
        )
    return run


def _logged_model(store: Store, run: "MlflowRun", name: str) -> tuple[str, str]:
    """Find a model that was logged with the run under this name: its place and its hash."""
    outputs = run.outputs.model_outputs if run.outputs else []
    with errors_named(store.uri):
        logged = [store.client.get_logged_model(output.model_id) for output in outputs]
    # The latest of the name: a model that is registered again is logged again.
    for model in reversed(logged):
        if model.name == name and FILES_SHA256 in model.tags:
            return model.artifact_location, model.tags[FILES_SHA256]
    end = f".{FILES_SHA256}"
    kept = [tag.removesuffix(end) for tag in run.data.tags if tag.endswith(end)]
    known = sorted({*kept, *(model.name for model in logged if FILES_SHA256 in model.tags)})
    raise TrackingError(
        f"The run {run.info.run_id} ({run.info.run_name}) has no model `{name}` with known hashes.",
        fix=did_you_mean(name, known)
        if known
        else "name a run of `vertiform pretrain` or a registered model; or download the files "
        f"with `mlflow artifacts download -r {run.info.run_id} -a {name}` and name that folder.",
    )


def _copied(folder: Path, into: Path, source: str, files_sha256: str) -> FetchedStart:
    own = into / files_sha256[:16]
    with folder_written_whole(own) as aside:
        ignored = shutil.ignore_patterns(FILES, WRITTEN_LATER)
        shutil.copytree(folder, aside, dirs_exist_ok=True, ignore=ignored)
    return FetchedStart(own, source, files_sha256)
