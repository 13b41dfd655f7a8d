"""A project of its own for each sweep that is measured, with the demo's task and encoder in it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from benchmarks.measure import ROOT
from vertiform.cli.sweeping.setup import SWEEPS
from vertiform.sweeps.storage import open_storage

LINKED = ("conf", "params.yaml", "dvc.yaml", "dvc.lock", "requirements.lock")
READ = ("data/software/tasks", "models/software/pretrain")  # of the demo: make demo, or dvc pull
STUDY = "measured"
TASK = ("domain=software", "task.name=area", "trainer.threads=1", f"study={STUDY}")


def project(folder: Path, *, demo: Path) -> Path:
    """Make a project in `folder` that reads what the demo in `demo` has made; or find it made."""
    for root, names in ((ROOT, LINKED), (demo, READ)):
        for name in names:
            if not (root / name).exists():
                raise SystemExit(f"{root / name} is not there: run `make demo`, or name --demo.")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).is_symlink():
                (folder / name).symlink_to((root / name).resolve())
    return folder


def sweep(folder: Path, *words: str) -> float:
    """Run `vertiform sweep finetune` on the task in a project of its own; return its seconds."""
    command = [sys.executable, "-m", "vertiform.cli.main", "sweep", "finetune", *TASK, *words]
    sources = os.pathsep.join((str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return _seconds(trials_in(folder))


def trials_in(folder: Path) -> list[FrozenTrial]:
    """The trials of the sweep that ran in a project."""
    storage, _ = open_storage(folder / SWEEPS / STUDY, None, 10)
    return optuna.load_study(study_name=STUDY, storage=storage).get_trials(deepcopy=False)


def _seconds(trials: Sequence[FrozenTrial]) -> float:
    """From the first trial's beginning to the last one's end: without imports and the ending."""
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    return (max(t.datetime_complete for t in trials if t.datetime_complete) - begun).total_seconds()
