"""A worker of a study, for tests that kill and pause it: `python -m tests.sweeps.worker ...`.

It does what each line of its input says and answers in one line. Arguments: the study's folder,
the database's address or `file`, and how many trials there are in all.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import TrialState

from vertiform.errors import StorageError
from vertiform.sweeps.storage import open_storage

HEARTBEAT_SECONDS = 1
GRACE_SECONDS = 6 * HEARTBEAT_SECONDS
STUDY = "killed"


class Work:
    """What a worker does with a study."""

    def __init__(self, folder: Path, address: str | None, n_trials: int) -> None:
        storage, make_claims = open_storage(folder, address, HEARTBEAT_SECONDS)
        sampler = optuna.samplers.RandomSampler()
        self.study = optuna.create_study(
            study_name=STUDY, storage=storage, sampler=sampler, load_if_exists=True
        )
        self.claims = make_claims(self.study._study_id)
        self.n_trials = n_trials
        self.trial: optuna.Trial | None = None

    def take(self) -> str:
        """Take an orphan, or ask for a new trial while there are fewer than n_trials."""
        with self.claims.turn():
            for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
                if self.claims.is_orphan(trial._trial_id) and self.claims.take(trial._trial_id):
                    self.trial = optuna.Trial(self.study, trial._trial_id)
                    return f"took over {trial.number}"
            if len(self.study.get_trials(deepcopy=False)) >= self.n_trials:
                return "nothing"
            self.trial = self.study.ask()
            assert self.claims.take(self.trial._trial_id)
            return f"took {self.trial.number}"

    def holds(self) -> str:
        assert self.trial is not None
        return str(self.claims.holds(self.trial._trial_id))

    def tell(self) -> str:
        """Say what came of the trial, if it is still ours."""
        assert self.trial is not None
        with self.claims.turn():
            if not self.claims.holds(self.trial._trial_id):
                return "lost"
            self.study.tell(self.trial, self.trial.params.get("x", 0.0))
            self.claims.drop(self.trial._trial_id)
        return f"told {self.trial.number} {self.trial.params.get('x')}"

    def drop(self) -> str:
        assert self.trial is not None
        with self.claims.turn():
            self.claims.drop(self.trial._trial_id)
        return "dropped"

    def stay(self) -> str:
        """Stay in our turn until the next line comes."""
        try:
            with self.claims.turn():
                print("in turn", flush=True)
                sys.stdin.readline()
        except StorageError as error:
            return error.problem
        return "left"

    def run(self) -> str:
        """Go on until every trial has ended; others may still run theirs."""
        while True:
            if (took := self.take()) == "nothing":
                if self._is_all_over():
                    return "over"
                time.sleep(0.05)
                continue
            print(took, flush=True)
            assert self.trial is not None
            self.trial.suggest_float("x", 0, 1)
            for step in range(3):
                self.trial.report(random.random(), step)
                time.sleep(random.random() / 10)
            print(self.tell(), flush=True)

    def _is_all_over(self) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        return all(trial.state.is_finished() for trial in trials)


class Worker:
    """Such a process, seen from the test."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def begin(self, command: str) -> None:
        """Give it a line, without waiting for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __call__(self, command: str) -> str:
        self.begin(command)
        return self.answer()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


@contextmanager
def worker(
    folder: Path,
    address: str | None,
    *,
    n_trials: int = 100,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Worker]:
    """Start a worker and wait until it is ready; it is killed when the block ends."""
    process = started(folder, address, n_trials=n_trials, environment=environment)
    try:
        made = Worker(process)
        assert made.answer() == "ready"
        yield made
    finally:
        process.kill()
        process.wait()


def started(
    folder: Path,
    address: str | None,
    *,
    n_trials: int,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.sweeps.worker", folder, address or "file", n_trials]
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | dict(environment or {}),
    )


def main(folder: str, address: str, n_trials: str) -> None:
    work = Work(Path(folder), None if address == "file" else address, int(n_trials))
    print("ready", flush=True)
    for command in sys.stdin:
        print(getattr(work, command.strip())(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
