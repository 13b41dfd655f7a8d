"""A project in a folder, small enough that a trial takes a second, and sweeps started in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from tests.tasks.small import classification_task, tiny_checkpoint
from vertiform.sweeps.storage import open_storage

if TYPE_CHECKING:
    from mlflow.entities import Run

ROOT = Path(__file__).parents[2]
SECONDS = 600  # of a busy machine, for what takes a few
# Learning rates for PRETRAIN: as it is, better, of no effect, and one that ends in NaN.
AS_IT_IS, GOOD, USELESS, IMPOSSIBLE = 0.001, 0.003, 1e-09, 1e30
RATES = f"optimizer.lr=choice({AS_IT_IS}, {GOOD}, {USELESS}, {IMPOSSIBLE})"
WENT_ON = "goes on from step"  # says the log of a trial that was taken up again
PARAMS = "domains:\n  tiny: {}\nrelease:\n  domain: tiny\n"
FINETUNE = ("finetune", "domain=tiny", "task.name=area", "trainer.threads=1", "start=domain")
PRETRAIN = (
    *("pretrain", "domain=tiny", "trainer.threads=1", "batches.window_tokens=16"),
    *("batches.windows_per_batch=4", "batches.max_validation_windows=12", "model.width=32"),
    *("model.heads=2", "model.feed_forward_width=64", "model.max_tokens=32"),
)


def make_project(folder: Path) -> Path:
    """Lay out what the doors read: data, a small encoder, and a conf/ that --save may write to."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(PARAMS)
    made = tiny_checkpoint(folder / "made")
    (folder / "data" / "tiny").mkdir(parents=True)
    (folder / "models" / "tiny").mkdir(parents=True)
    shutil.move(folder / "made" / "tokens", folder / "data" / "tiny" / "tokens")
    shutil.move(made, folder / "models" / "tiny" / "pretrain")
    classification_task(folder / "data" / "tiny" / "tasks" / "area")
    return folder


class Sweep:
    """`vertiform sweep` with one command line in one project, however often it is called."""

    def __init__(self, project: Path, *words: str, launcher: Sequence[str] = ()) -> None:
        self.project = project
        self.words = words
        self.launcher = launcher
        (self.study_name,) = (w.partition("=")[2] for w in words if w.startswith("study="))
        self._study: optuna.Study | None = None

    @property
    def folder(self) -> Path:
        return self.project / "runs" / "sweeps" / self.study_name

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        with self.started(*more) as process:
            out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @contextmanager
    def started(self, *more: str) -> Iterator[subprocess.Popen[str]]:
        """Start it; whatever is left of it at the block's end is killed."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", *self.launcher, *(["-m"] if self.launcher else [])),
                *("vertiform.cli.main", "sweep", *self.words, *more),
            ],
            cwd=self.project,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def trials(self) -> list[FrozenTrial]:
        """The trials of its study; none if it is not begun."""
        if self._study is None:
            if not (self.folder / "journal.lines").exists():
                return []
            storage, _ = open_storage(self.folder, None, 10)
            try:
                self._study = optuna.load_study(study_name=self.study_name, storage=storage)
            except KeyError:
                return []
        return self._study.trials

    def worker_of(self, trial: FrozenTrial) -> int:
        """The process that runs a trial."""
        return json.loads((self.folder / "claims" / f"{trial._trial_id}.lock").read_text())["pid"]

    def log_of(self, number: int) -> str:
        """What a trial said."""
        log = self.folder / "trials" / f"{number:04d}" / "log.txt"
        return log.read_text() if log.exists() else ""


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes that a sweep has now."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "vertiform.cli.sweeping.worker" in child.cmdline()]


def under_way(sweep: Sweep) -> list[FrozenTrial]:
    """The trials that run and have something to go on from."""
    return [
        trial
        for trial in sweep.trials()
        if trial.state == TrialState.RUNNING and len(trial.intermediate_values) > 1
    ]


def has_gone_on(sweep: Sweep) -> bool:
    return any(WENT_ON in sweep.log_of(trial.number) for trial in sweep.trials())


def runs_of(project: Path, uri: str | None = None) -> "list[Run]":
    """Every run in the project's MLflow, the oldest first."""
    from vertiform.tracking.store import open_store

    client = open_store(uri, root=project).client
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def wait_until(is_so: Callable[[], object], what: str, *, process: subprocess.Popen[str]) -> None:
    """Wait for something to come true while a sweep runs."""
    give_up = time.monotonic() + SECONDS
    while not is_so():
        assert process.poll() is None, f"the sweep ended before {what}"
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.1)


def wait_for_end_of(processes: list[psutil.Process]) -> None:
    """Wait until processes that are not our children are gone."""
    _, left = psutil.wait_procs(processes, timeout=SECONDS)
    assert not left, left


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C."""
    process.send_signal(signal.SIGINT)
