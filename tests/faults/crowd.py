"""Many writers in one SQLite file, and the UI's server reading it."""

import json
import time
import urllib.request
from pathlib import Path

from tests.faults.place import Place, line_with
from tests.faults.rows import Row
from tests.faults.scale import Scale
from tests.faults.server import Server

NUM_RUNS = 4


def many_writers(folder: Path, scale: Scale) -> Row:
    """Four runs of one project at once, as in a sweep, while a server on the same file is asked."""
    place = Place(folder).with_model()
    asked = 0
    try:
        with Server(place.root) as ui:
            runs = [
                place.trainer(f"run-{number}", "--seconds-a-step", "0.05").start()
                for number in range(NUM_RUNS)
            ]
            until = time.monotonic() + scale.overlapping_seconds
            while time.monotonic() < until:
                asked += _ask(ui)
            for run in runs:
                (run.folder / "enough").touch()
            said = "".join(run.finish() for run in runs)
            place.wait_until_shipped()
            said += ui.log.read_text() + (place.journals / "shipper.log").read_text()
    finally:
        place.close()
    assert asked > 0
    assert "database is locked" not in said
    return place.row(
        "SQLite under many writers, and the UI open",
        saw=line_with(said, "is over"),
        happened=f"{NUM_RUNS} runs at once, {asked} searches through a server meanwhile",
    )


def _ask(ui: Server) -> int:
    """Search as the UI does; each must be answered."""
    request = urllib.request.Request(
        f"{ui.uri}/api/2.0/mlflow/runs/search",
        data=json.dumps({"experiment_ids": ["0", "1"], "max_results": 100}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    return 1
