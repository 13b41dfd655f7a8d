"""What makes a run this run, and where the weights of one that is not in the release lie."""

import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vertiform.files import folder_written_whole, sha256_of

PLACE_AND_SPEED = ("trainer", "tracking")  # change where and how fast a run is, never its result
CODE_OF_A_RUN = ("batches", "models", "tasks", "training")
UNFINISHED = Path("checkpoints")  # of killed runs; a run that ends removes its own
FETCHED = UNFINISHED / "starts"  # copies of checkpoints in MLflow that runs started from
OUTSIDE_RELEASE = Path("runs")  # what a run started by hand writes, so that DVC's outputs stay


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


@cache
def sha256_of_sources(room: Path) -> str:
    """Hash a room's Python sources, once: this process runs what it has imported.

    Compiled files beside them do not count.
    """
    return "".join(sha256_of(file)[:16] for file in sorted(room.rglob("*.py")))
