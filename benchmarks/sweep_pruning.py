"""What pruning spares: the same sweep unpruned and pruned, its steps and its best score.

`python -m benchmarks.sweep_pruning all SPEC`: each sweep is `vertiform sweep finetune` in a project
of its own, one worker, so that equal seeds give equal sweeps; two run beside each other, since
what counts is no time. Sweeps of an earlier call in the folder `kept` go on. The last line is JSON.
"""

import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from benchmarks.sweep_place import project, sweep, trials_in
from vertiform.cli.sweeping.trial import RESULT
from vertiform.doors import prepare_environment
from vertiform.evaluation import names
from vertiform.sweeps.outcome import last_step

VALIDATION = Path("data/software/tasks/area/validation.jsonl")
ACCURACY = names.on("validation", names.ACCURACY)


def measured(spec: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Sweep with each pruner and seed; what each came to, by pruner and in the seeds' order."""
    demo = Path(spec["demo"])
    sweeps = [(pruner, seed) for seed in spec["seeds"] for pruner in spec["pruners"]]

    def swept(which: tuple[str, int]) -> dict[str, Any]:
        pruner, seed = which
        folder = project(place / f"{pruner}-{seed}", demo=demo)
        words = (f"pruner={pruner}", f"sampler_seed={seed}", f"n_trials={spec['trials']}")
        seconds = sweep(folder, *spec["words"], *words, "confirmation_seeds=0")
        return {**_found(trials_in(folder)), "trials_seconds": seconds}

    with ThreadPoolExecutor(spec["at_once"]) as pool:
        found = dict(zip(sweeps, pool.map(swept, sweeps), strict=True))
    rows = len((demo / VALIDATION).read_text(encoding="utf-8").splitlines())
    by_pruner = {p: [found[p, seed] for seed in spec["seeds"]] for p in spec["pruners"]}
    return {"validation_rows": rows, "sweeps": by_pruner}


def _found(trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(done, key=lambda trial: trial.value or -math.inf)
    return {
        "training_steps": sum(map(last_step, trials)),
        "best": best.value,
        "best_trial": best.number,
        "best_accuracy": best.user_attrs[RESULT]["metrics"][ACCURACY],
        "pruned": sum(trial.state == TrialState.PRUNED for trial in trials),
        "trials": len(trials),
    }


def standard_error(accuracy: float, *, rows: int) -> float:
    """Of a share of so many rows, by the binomial distribution."""
    return math.sqrt(accuracy * (1 - accuracy) / rows)


if __name__ == "__main__":
    prepare_environment()
    spec = json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="sweeps-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(measured(spec, Path(spec["kept"] or folder))))
