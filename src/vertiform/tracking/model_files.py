"""The files of a model and their hashes: written last, and read back by whoever relies on them.

MLflow calls a version READY, and lets an alias point at it, whether its files exist or not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertiform.errors import TrackingError
from vertiform.files import read_json, sha256_of, write_json

# MLflow writes this one into the folder when someone loads the model by its registered name.
WRITTEN_LATER = "registered_model_meta"
FILES = "files.json"  # {"files": {path: sha256}, "bytes": n}; names every file but itself


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
        if name not in found:
            raise TrackingError(f"{model} lacks its file {name}.", fix=fix)
        if sha256_of(found[name]) != sha256:
            raise TrackingError(f"The file {name} of {model} changed after it was logged.", fix=fix)
    extra = sorted(set(found) - set(listed))
    if extra:
        raise TrackingError(f"{model} holds a file that nobody registered: {extra[0]}.", fix=fix)


def _below(folder: Path) -> dict[str, Path]:
    """Return every file by its relative path, but for those that loading a model leaves behind."""
    every = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {name: path for name, path in every.items() if name not in (FILES, WRITTEN_LATER)}
