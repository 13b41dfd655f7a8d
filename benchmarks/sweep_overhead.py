"""What a trial costs beyond its own training: `python -m benchmarks.sweep_overhead all SPEC`.

In one process, after its imports: a worker's own loop, with its study in a journal file and a run
in MLflow for each trial; before each trial the same training is called directly, as the loop's
door calls it. The last line is JSON.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sweep_place import TASK, project
from vertiform.cli import identity, session
from vertiform.cli.compose import instantiate
from vertiform.cli.sweeping.doors import open_door
from vertiform.cli.sweeping.setup import Setup, read_setup
from vertiform.cli.sweeping.trial import JOURNAL, Bench
from vertiform.cli.sweeping.working import bench_of, run_trials
from vertiform.doors import prepare_environment
from vertiform.sweeps.study import Study, Trial
from vertiform.tracking.runs import wait_for_runs
from vertiform.training.metrics import NoSink

TINY = (
    "start=scratch",
    "starts.scratch.epochs=1",
    "task.max_tokens=16",
    "batches.examples_per_batch=32",
    "optimizer.lr=tag(log, interval(0.0001, 0.01))",
    "pruner=none",  # every trial trains as long as every other
)


@dataclass
class Clock:
    """Milliseconds from `start` to `stop`, time after time: by the clock, and of this process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    _since: tuple[float, float] | None = None

    def start(self) -> None:
        """Begin."""
        self._since = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Note what has passed, if it runs."""
        if self._since is not None:
            self.wall.append(1000 * (time.perf_counter() - self._since[0]))
            self.cpu.append(1000 * (time.process_time() - self._since[1]))
        self._since = None


class Alternating:
    """A study that trains directly before each trial that it gives, and takes the time of both."""

    def __init__(self, study: Study, setup: Setup) -> None:
        self._study = study
        self._setup = setup
        self.bench: Bench | None = None
        self.direct, self.trial = Clock(), Clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def next_trial(self) -> Trial | None:
        """End the time of the trial before; the next one's begins before it is asked for."""
        self.trial.stop()
        self._train(len(self.direct.wall))
        self.trial.start()
        return self._study.next_trial()

    def _train(self, number: int) -> None:
        assert self.bench is not None
        config, out, name = self._setup.config, Path("direct") / str(number), f"direct-{number}"
        self.direct.start()
        self.bench.door.train(
            config,
            out=out,
            fingerprint=name,
            trainer=instantiate(config["trainer"]),
            sink=NoSink(),
            judge=None,
        )
        self.direct.stop()
        shutil.rmtree(out)
        shutil.rmtree(identity.UNFINISHED / name, ignore_errors=True)


def measured(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run the trials; the first of both kinds warms up."""
    setup = read_setup("finetune", [*TASK, *TINY, f"n_trials={spec['trials'] + 1}"])
    job = setup.search_job()
    store = session.training_store_of(setup.config)
    door = open_door("finetune", setup.config, store=store)
    study = Alternating(setup.open_study(job), setup)
    study.begin(setup.identity(door.data_sha256), first=[setup.search.current])
    study.bench = bench_of(setup, job, study)  # type: ignore[arg-type]
    run_trials(study.bench)
    wait_for_runs(store, [trial.user_attrs[JOURNAL] for trial in study.trials()])
    of_all = slice(1, spec["trials"] + 1)  # without the call that finds no trial
    return {
        f"{name}_{kind}_ms": [round(each, 1) for each in getattr(clock, kind)[of_all]]
        for name, clock in (("direct", study.direct), ("trial", study.trial))
        for kind in ("wall", "cpu")
    } | {"failed": study.reasons()}


def main() -> None:
    """Measure in a project of its own."""
    prepare_environment()
    spec = json.loads(sys.argv[2])
    # The process that ships to MLflow may write while its folder goes.
    with tempfile.TemporaryDirectory(prefix="overhead-", ignore_cleanup_errors=True) as folder:
        os.chdir(project(Path(folder), demo=Path(spec["demo"])))
        found = measured(spec)
        os.chdir("/")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
