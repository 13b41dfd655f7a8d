"""What every door that opens a run needs: the store, its experiment, and the lineage."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.checkpoint_names import IN_MLFLOW
from vertiform.cli.compose import read_plain
from vertiform.errors import TrackingError

if TYPE_CHECKING:
    from vertiform.tracking.lineage import Lineage
    from vertiform.tracking.starts import FetchedStart
    from vertiform.tracking.store import Store

logger = logging.getLogger(__name__)


def store_of(config: Mapping[str, Any], *, must_exist: bool = False) -> "Store":
    """Open the MLflow store that conf/tracking names."""
    from vertiform.tracking.store import open_store

    return open_store(config["tracking"]["tracking_uri"], root=Path.cwd(), must_exist=must_exist)


def training_store_of(config: Mapping[str, Any]) -> "Store":
    """Name the store that conf/tracking names; one that does not answer is only said."""
    from vertiform.tracking.store import open_store, store_at

    uri = config["tracking"]["tracking_uri"]
    store = store_at(uri, root=Path.cwd())
    try:
        open_store(uri, root=Path.cwd())
    except TrackingError as error:
        logger.warning(
            "%s\nTraining goes on without it: what is logged is kept below runs/journals and sent "
            "when it answers.",
            error,
        )
    return store


def lineage_of(config: Mapping[str, Any], *, data: Sequence[Path]) -> "Lineage":
    """Collect what a run with this configuration is rebuilt from."""
    from vertiform.tracking.lineage import collect_lineage

    device = config.get("trainer", {}).get("accelerator", "cpu")
    return collect_lineage(Path.cwd(), data=data, device=device)


def fetched_start(store: "Store", name: str | None, *, into: Path) -> "FetchedStart | None":
    """Bring the checkpoint `name` to a folder below `into` if it is one in MLflow; else None."""
    if name is None or not name.startswith(IN_MLFLOW):
        return None
    from vertiform.tracking.starts import fetch_start

    return fetch_start(store, name, into=into)


def add_tracking_option(parser: argparse.ArgumentParser) -> None:
    """Let a verb that takes no Hydra overrides name the store all the same."""
    parser.add_argument(
        "--tracking", default="local", help="a file of conf/tracking: local (default) or server"
    )


def asked_config(options: argparse.Namespace) -> dict[str, Any]:
    """Read what conf/promote.yaml says whatever the model, with the store of `--tracking`."""
    return read_plain("promote", {"domain": "any"}, tracking=options.tracking)


def asked_store(options: argparse.Namespace, *, must_exist: bool = True) -> "Store":
    """Open the store that `--tracking` names. Raises TrackingError if there is none yet."""
    return store_of(asked_config(options), must_exist=must_exist)


def experiment_of(config: Mapping[str, Any], what: str) -> str:
    """Name the MLflow experiment of runs that are worth comparing: software-area, say."""
    return f"{config['tracking']['experiment_name']}-{what}"


def digests_of(lineage: "Lineage") -> dict[str, str]:
    """Return the hash of each file and folder that a run read."""
    return {version.path: version.digest for version in lineage.data}
