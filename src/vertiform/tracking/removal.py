"""Removes what retention lets go, in an order in which a crash leaves nothing needed broken.

First what points (versions), then what it points at (runs, children before their parents), then
files, and DVC's cache last. Nothing of it is needed by anything that stays, so stopping anywhere is
safe, and a second run finds and finishes the rest.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.errors import TrackingError
from vertiform.tracking.index_changes import mark_changed
from vertiform.tracking.inventory import Inventory, RunFacts, VersionFacts
from vertiform.tracking.leftovers import Piece, size_of
from vertiform.tracking.registry import aliases_of
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

Say = Callable[[str], None]


def remove_versions(store: Store, versions: Iterable[VersionFacts]) -> int:
    """Delete versions; one that was given an alias meanwhile stays. Returns how many went."""
    num_removed = 0
    for version in versions:
        if version.number in aliases_of(store, version.name).values():
            continue
        with errors_named(store.uri):
            store.client.delete_model_version(version.name, str(version.number))
        num_removed += 1
    return num_removed


def remove_runs(store: Store, runs: Iterable[RunFacts]) -> int:
    """Delete runs, as MLflow does: they can be restored. One that was registered meanwhile stays.

    Returns how many went.
    """
    num_removed = 0
    for run in runs:
        if run.is_deleted:
            continue
        with errors_named(store.uri):
            if store.client.search_model_versions(f"run_id = '{run.id}'"):
                continue
            store.client.delete_run(run.id)
        mark_changed(store, run.id, root=store.root)  # or `vertiform runs` would go on showing it
        num_removed += 1
    return num_removed


def erase_runs(store: Store, runs: Iterable[RunFacts], inventory: Inventory) -> int:
    """Erase deleted runs, their files and their logged models for good. Returns how many went.

    By the functions under `mlflow gc`, not by it: asked for some runs, it also erases every deleted
    experiment and logged model of the store, whoever may still need them.
    """
    tracked: Any = store.client._tracking_client.store
    if store.artifacts is None or not hasattr(tracked, "_hard_delete_run"):
        raise TrackingError(
            f"{store.name} is a server, which lets nobody erase a run from outside.",
            fix="leave out --permanently: the runs are deleted all the same, and whoever keeps "
            "the server erases them with `mlflow gc`.",
        )
    models = models_of_runs(store, inventory)
    num_erased = 0
    for run in runs:
        with errors_named(store.uri):
            if store.client.get_run(run.id).info.lifecycle_stage != "deleted":
                continue
            for model in models.get(run.id, ()):
                _erase_files(model.artifact_location)
                store.client.delete_logged_model(model.model_id)
                tracked._hard_delete_logged_model(model.model_id)
            _erase_files(run.artifact_uri)
            tracked._hard_delete_run(run.id)
        num_erased += 1
    return num_erased


def remove_pieces(pieces: Iterable[Piece]) -> None:
    """Remove files and folders of this disk."""
    for piece in pieces:
        if piece.path.is_dir():
            shutil.rmtree(piece.path)
        else:
            piece.path.unlink(missing_ok=True)


def models_of_runs(store: Store, inventory: Inventory) -> "dict[str, list[LoggedModel]]":
    """Return the logged models of each run, but for those that a version holds."""
    held = {version.model_id for version in inventory.versions.values()}
    held_places = " ".join(version.source for version in inventory.versions.values())
    found: dict[str, list[LoggedModel]] = {}
    with errors_named(store.uri):
        experiments = [found.experiment_id for found in store.client.search_experiments()]
        token = None
        while experiments:
            page = store.client.search_logged_models(experiments, page_token=token)
            for model in page:
                if model.model_id not in held and model.model_id not in held_places:
                    found.setdefault(model.source_run_id or "", []).append(model)
            token = page.token
            if not token:
                break
    return found


def size_of_run(store: Store, run: RunFacts) -> int:
    """Return the bytes of a run's files on this machine; those of a server count as 0."""
    return size_at(run.artifact_uri) if store.artifacts else 0


def size_at(location: str) -> int:
    """Return the bytes of the files at an address of MLflow that lies on this machine; else 0."""
    return size_of(_place(location))


def _erase_files(location: str) -> None:
    place = _place(location)
    if place.is_dir():
        shutil.rmtree(place)


def _place(location: str) -> Path:
    """The folder of files that a local store names."""
    return Path(location.removeprefix("file://"))
