"""What every door that opens a run needs: the store, its experiment, and the lineage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertiform.tracking.lineage import Lineage
    from vertiform.tracking.store import Store


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
