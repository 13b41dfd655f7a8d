"""Puts one file among a run's artifacts: whole and read back, or not at all."""

import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from vertiform.errors import TrackingError
from vertiform.files import sha256_of, written_whole
from vertiform.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun


def check_name(name: str) -> None:
    """Raise TrackingError for a name that would lead out of the run's artifacts."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise TrackingError(
            f"`{name}` is no name of an artifact: it leads out of the run's folder.",
            fix="give a relative path without `..`.",
        )


def put_artifact(store: Store, run: "MlflowRun", file: Path, name: str, *, sha256: str) -> None:
    """Make `file` the artifact `name` of the run. Raises OSError if it did not arrive as it was."""
    check_name(name)
    location = run.info.artifact_uri or ""
    if location.startswith(("/", "file:")):
        path = Path(unquote(urlsplit(location).path)) / name
        with written_whole(path, "wb") as out, file.open("rb") as source:
            shutil.copyfileobj(source, out)
        if sha256_of(path) != sha256:
            raise OSError(f"{path} is not what was written")
        return
    assert file.name == PurePosixPath(name).name, "MLflow takes a file under its own name"
    folder = PurePosixPath(name).parent.as_posix()
    store.client.log_artifact(run.info.run_id, str(file), None if folder == "." else folder)
    _read_back(store, f"{location}/{name}", sha256=sha256)


def _read_back(store: Store, address: str, *, sha256: str) -> None:
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as aside:
        found = download_artifacts(artifact_uri=address, dst_path=aside, tracking_uri=store.uri)
        if sha256_of(Path(found)) != sha256:
            raise OSError(f"{address} did not arrive as it was sent")
