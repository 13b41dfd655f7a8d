"""Can a version be made again? Looks for all that a rebuild needs, where training left it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.evaluation.evidence import Lineage
from vertiform.files import read_json
from vertiform.tracking.lineage import DIRTY_FILES, NO_COMMIT, NO_GIT
from vertiform.tracking.receipts import Receipt
from vertiform.tracking.registry import Version
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

RECEIPT = "receipt"  # tag of a version: the path of its training's receipt, below the root
_CONFIG, _LINEAGE, _DIFF = "config.yaml", "lineage/lineage.json", "lineage/uncommitted.diff"


def lineage_of(store: Store, version: Version, *, registered: Receipt, root: Path) -> Lineage:
    """Say what is not kept of `version`, and whether its code was exactly a commit's.

    registered: the receipt of its registration. root: of the project, where receipts lie.
    """
    found = _run(store, version)
    if found is None:
        gap = f"its run {version.run_id} is gone"
        return Lineage((gap,), is_clean=None, dirty_files=(), retrain=version.rebuild)
    tags = found.data.tags
    is_dirty = tags.get("git.is_dirty")
    gaps = (
        *_gaps_of_run(found),
        *_gaps_of_artifacts(store, version.run_id, is_dirty=is_dirty == "true"),
        *_gaps_of_receipts(version, registered, root),
    )
    listed = tags.get(DIRTY_FILES, "none")
    return Lineage(
        gaps=gaps,
        is_clean=is_dirty == "false" if has_commit(tags) else None,
        dirty_files=() if listed == "none" else tuple(listed.splitlines()),
        retrain=_retrain(version, root),
    )


def has_commit(tags: Mapping[str, str]) -> bool:
    """Say whether a run's tags name the commit of its code."""
    return tags.get("mlflow.source.git.commit", NO_GIT) not in (NO_GIT, NO_COMMIT)


def _run(store: Store, version: Version) -> "MlflowRun | None":
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            found = store.client.get_run(version.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
    return found if found.info.lifecycle_stage == "active" else None


def _gaps_of_run(found: "MlflowRun") -> Iterator[str]:
    tags = found.data.tags
    if found.info.status != "FINISHED":
        yield f"its run ended as {found.info.status}"
    if not has_commit(tags):
        yield f"its code has no commit ({tags.get('mlflow.source.git.commit', 'not recorded')})"
    elif tags.get("git.is_dirty") not in ("true", "false"):
        yield "whether its code had edits is not recorded"
    if not any(value for key, value in tags.items() if key.startswith("data.")):
        yield "its data has no hash"
    if len(tags.get("lock.sha256", "")) != 64:  # else the tag says that there was none
        yield "its packages have no lock"


def _gaps_of_artifacts(store: Store, run_id: str, *, is_dirty: bool) -> Iterator[str]:
    with errors_named(store.uri):
        kept = {
            file.path
            for folder in (None, "lineage")
            for file in store.client.list_artifacts(run_id, folder)
        }
    for wanted in (_CONFIG, _LINEAGE, *([_DIFF] if is_dirty else [])):
        if wanted not in kept:
            yield f"its run does not hold {wanted}"


def _gaps_of_receipts(version: Version, registered: Receipt, root: Path) -> Iterator[str]:
    if (registered.run_id, registered.version) != (version.run_id, version.number):
        yield f"the receipt of its registration tells of version {registered.version}"
    path = version.tags.get(RECEIPT, "")
    if not path or not (root / path).is_file():
        yield f"the receipt of its training is not there ({path or 'not recorded'})"
    elif read_json(root / path).get("run_id") != version.run_id:
        yield f"{path} tells of another run"


def _retrain(version: Version, root: Path) -> str:
    path = version.tags.get(RECEIPT, "")
    if not path or not (root / path).is_file():
        return version.rebuild
    return f"dvc repro -f {read_json(root / path)['stage']}"
