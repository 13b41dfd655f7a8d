"""What every door that opens a run needs: the store, the lineage, and the identity of the run."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.files import folder_written_whole, sha256_of

if TYPE_CHECKING:
    from vertiform.tracking.lineage import Lineage
    from vertiform.tracking.store import Store

PLACE_AND_SPEED = ("trainer", "tracking")  # change where and how fast a run is, never its result
CODE_OF_A_RUN = ("batches", "models", "tasks", "training")
UNFINISHED = Path("checkpoints")  # of killed runs; a run that ends removes its own
OUTSIDE_RELEASE = Path("runs")  # what a run started by hand writes, so that DVC's outputs stay


def store_of(config: Mapping[str, Any], *, must_exist: bool = False) -> "Store":
    """Open the MLflow store that conf/tracking names."""
    from vertiform.tracking.store import open_store

    return open_store(config["tracking"]["tracking_uri"], root=Path.cwd(), must_exist=must_exist)


def lineage_of(config: Mapping[str, Any], *, data: Sequence[Path]) -> "Lineage":
    """Collect what a run with this configuration is rebuilt from."""
    from vertiform.tracking.lineage import collect_lineage

    device = config.get("trainer", {}).get("accelerator", "cpu")
    return collect_lineage(Path.cwd(), data=data, device=device)


def experiment_of(config: Mapping[str, Any], what: str) -> str:
    """Name the MLflow experiment of runs that are worth comparing: software-area, say."""
    return f"{config['tracking']['experiment_name']}-{what}"


def digests_of(lineage: "Lineage") -> dict[str, str]:
    """Return the hash of each file and folder that a run read."""
    return {version.path: version.digest for version in lineage.data}


def identity_of(config: Mapping[str, Any], *, data_sha256: str) -> str:
    """Return what makes a run this run: its configuration, its data and the code that trains.

    A killed run goes on only under the same identity, so that an edit never continues old weights.
    """
    from vertiform.training.checkpoints import fingerprint_of

    rooms = Path(__file__).parents[1]
    decides = {key: value for key, value in config.items() if key not in PLACE_AND_SPEED}
    decides["code"] = [sha256_of_sources(rooms / room) for room in CODE_OF_A_RUN]
    return fingerprint_of(decides, data_sha256=data_sha256)


def weights_sha256(folder: Path) -> str:
    """Hash the weights of a checkpoint folder; "" where there are none."""
    weights = folder / "model.safetensors"
    return sha256_of(weights) if weights.is_file() else ""


def put(folder: Path, *, at: Path) -> None:
    """Copy `folder` to `at`, whole or not at all."""
    with folder_written_whole(at) as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)


def sha256_of_sources(room: Path) -> str:
    """Hash a room's Python sources; compiled files beside them do not count."""
    return "".join(sha256_of(file)[:16] for file in sorted(room.rglob("*.py")))
