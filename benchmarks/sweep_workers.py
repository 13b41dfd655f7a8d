"""What a second worker gives: `python -m benchmarks.sweep_workers 1|2 SPEC`.

Only the dropout is searched, at random, so that all trials do the same work. CPU time is that of
all processes but the one that ships to MLflow. The last line is JSON.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.sweep_place import project, sweep, trials_in
from vertiform.doors import prepare_environment

EQUAL = (
    "start=scratch",
    "starts.scratch.dropout=interval(0.05, 0.2)",
    "sampler=random",
    "pruner=none",
    "confirmation_seeds=0",
)


def measured(workers: int, spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Sweep once; seconds of the whole command, of its trials, and of CPU in all its processes."""
    words = (f"workers={workers}", f"n_trials={spec['trials']}", f"budget.epochs={spec['epochs']}")
    began = time.perf_counter()
    seconds = sweep(project(folder, demo=Path(spec["demo"])), *EQUAL, *words)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "command_seconds": round(time.perf_counter() - began, 1),
        "trials_seconds": seconds,
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "ended_well": sum(trial.values is not None for trial in trials_in(folder)),
    }


if __name__ == "__main__":
    prepare_environment()
    with tempfile.TemporaryDirectory(prefix="workers-", ignore_cleanup_errors=True) as place:
        print(json.dumps(measured(int(sys.argv[1]), json.loads(sys.argv[2]), Path(place))))
