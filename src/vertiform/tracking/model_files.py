"""The files of a model and their hashes: written last, and read back by whoever relies on them.

MLflow calls a version READY, and lets an alias point at it, whether its files exist or not.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.errors import TrackingError
from vertiform.files import climbs, leads_outside, read_json, sha256_of, write_json
from vertiform.tracking.store import Store, errors_named

BUNDLE = "artifacts/bundle"  # inside a logged model: what Predictor.load takes
FILES_SHA256 = "files.sha256"  # tag of a model, a version or a run: of its list of files

# MLflow writes this one into the folder when someone loads the model by its registered name.
WRITTEN_LATER = "registered_model_meta"
FILES = "files.json"  # {"files": {path: sha256}, "bytes": n}; names every file but itself


@dataclass(frozen=True)
class LoggedModel:
    """A model in MLflow whose files were read back after they were written."""

    model_id: str
    run_id: str
    location: str  # the address of its folder of files
    files_sha256: str  # of its list of files and hashes
    size_bytes: int


def write_file_list(folder: Path) -> str:
    """Write files.json, which lists every other file below `folder`. Returns its own sha256."""
    files = _below(folder)
    values = {
        "files": {name: sha256_of(path) for name, path in files.items()},
        "bytes": sum(path.stat().st_size for path in files.values()),
    }
    write_json(folder / FILES, values)
    return sha256_of(folder / FILES)


def check_files(folder: Path, *, expected_sha256: str, model: str, rebuild: str) -> None:
    """See that `folder` holds exactly the files of its files.json, byte for byte.

    expected_sha256: of files.json itself, kept elsewhere, so that a forged list is seen too.
    model: as messages name it. rebuild: the command that makes the model again.
    """
    fix = f"make it again with `{rebuild}`, and register that version."
    if not (folder / FILES).is_file():
        raise TrackingError(f"{model} has no files at {folder}.", fix=fix)
    if sha256_of(folder / FILES) != expected_sha256:
        raise TrackingError(f"The list of files of {model} is not the one registered.", fix=fix)
    listed: Mapping[str, Any] = read_json(folder / FILES)["files"]
    found = _below(folder)
    for name, sha256 in listed.items():
        if leads_outside(name):
            raise TrackingError(f"{model} names a file outside of its folder: {name}.", fix=fix)
        if name not in found:
            raise TrackingError(f"{model} lacks its file {name}.", fix=fix)
        if sha256_of(found[name]) != sha256:
            raise TrackingError(f"The file {name} of {model} changed after it was logged.", fix=fix)
    extra = sorted(set(found) - set(listed))
    if extra:
        raise TrackingError(f"{model} holds a file that nobody registered: {extra[0]}.", fix=fix)


@contextmanager
def read_back(
    store: Store, location: str, *, files_sha256: str, model: str, rebuild: str
) -> Iterator[Path]:
    """Give the local folder of a logged model's files, each checked by its hash.

    Files on this machine are read where they are; those of a server are fetched for the block.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if climbs(location):
        raise TrackingError(
            f"{model} is said to lie at {location}, and `..` in an address is not followed.",
            fix=f"make it again with `{rebuild}`, and register that version.",
        )
    is_local = location.startswith(("/", "file:"))
    with tempfile.TemporaryDirectory() as aside:
        try:
            with errors_named(store.uri):
                folder = download_artifacts(
                    artifact_uri=location,
                    dst_path=None if is_local else aside,
                    tracking_uri=store.uri,
                )
        except (MlflowException, OSError) as error:
            raise TrackingError(
                f"{model} has no files at {location}.",
                fix=f"make it again with `{rebuild}`, and register that version.",
            ) from error
        check_files(Path(folder), expected_sha256=files_sha256, model=model, rebuild=rebuild)
        yield Path(folder)


def _below(folder: Path) -> dict[str, Path]:
    """Return every file by its relative path, but for those that loading a model leaves behind."""
    every = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {name: path for name, path in every.items() if name not in (FILES, WRITTEN_LATER)}
