"""The worker processes of a sweep on this machine: started, watched, replaced and ended."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.errors import TrainingError

if TYPE_CHECKING:
    from vertiform.sweeps.study import Study

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_QUESTIONS = 2.0  # to the study: is there work for one more worker?
MOST_EARLY_DEATHS = 3  # in a row, of workers that did not even take a trial

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """What of this machine one worker may use. gpu: as CUDA_VISIBLE_DEVICES names it."""

    cores: tuple[int, ...]
    gpu: str | None = None


def shares(workers: int, *, gpus: Sequence[str]) -> list[Share]:
    """Part the cores that this process may use, and the GPUs, among so many workers."""
    cores = sorted(os.sched_getaffinity(0))
    return [
        Share(_part(cores, i, of=workers), gpus[i % len(gpus)] if gpus else None)
        for i in range(workers)
    ]


def _part(cores: Sequence[int], number: int, *, of: int) -> tuple[int, ...]:
    """An equal part; of fewer cores than workers, several get the same one."""
    if len(cores) < of:
        return (cores[number % len(cores)],)
    return tuple(cores[number * len(cores) // of : (number + 1) * len(cores) // of])


@dataclass
class Crew:
    """Runs a command in as many processes as there are shares, until the study is complete.

    A worker that ends while there is work is replaced. They end when this process does, however it
    does: each watches its standard input, which the system closes then.
    """

    command: Sequence[str]
    shares: Sequence[Share]
    folder: Path  # of the workers' logs
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _early_deaths: int = 0

    def work(self, study: "Study", *, watch: Callable[[], None]) -> None:
        """Return when the study is complete. `watch` is called now and then, and may raise.

        Raises TrainingError when workers die one after the other before they take a trial. One that
        dies of its trial is the study's business, which gives such a trial up.
        """
        standing, asked_at = study.standing(), 0.0
        while not study.is_complete():
            watch()
            if reaped := self._reaped():
                asked_at = 0.0  # there may be work for others in their place
            for number in [number for number, code in reaped.items() if code]:
                before, standing = standing, study.standing()
                self._early_deaths = self._early_deaths + 1 if standing == before else 0
                self._check_deaths(number)
            if time.monotonic() - asked_at > SECONDS_BETWEEN_QUESTIONS:
                asked_at = time.monotonic()
                self._fill(study)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        watch()  # what the last trials came to
        for process in self._running.values():  # they find no work, and end
            process.wait()
        self._running.clear()

    def stop(self, *, seconds: float) -> int:
        """Ask all to end; return how many had to be killed because they did not in this time."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + seconds
        killed = 0
        for process in self._running.values():
            try:
                process.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
        self._running.clear()
        return killed

    def kill(self) -> None:
        """End all at once; their trials are taken up by whoever comes next."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()

    def _fill(self, study: "Study") -> None:
        for number, share in enumerate(self.shares):
            if number not in self._running and study.has_work():
                self._running[number] = self._start(number, share)

    def _start(self, number: int, share: Share) -> subprocess.Popen[bytes]:
        cores = ",".join(map(str, share.cores))
        with self._log_of(number).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self.command, f"--worker={number}", f"--cores={cores}"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(share),
                start_new_session=True,  # Ctrl-C is ours to pass on
            )

    def _reaped(self) -> dict[int, int]:
        """The numbers of workers that have ended, and their exit codes."""
        ended = {n: code for n, p in self._running.items() if (code := p.poll()) is not None}
        for number, code in ended.items():
            del self._running[number]
            if code:
                logger.warning(
                    "Worker %d ended with exit code %d (%s); another goes on with its trial.",
                    *(number, code, self._log_of(number)),
                )
        return ended

    def _check_deaths(self, number: int) -> None:
        if self._early_deaths >= MOST_EARLY_DEATHS:
            raise TrainingError(
                f"{self._early_deaths} workers in a row died before they took a trial. "
                f"The last one said: {_last_words(self._log_of(number))}",
                fix=f"read the end of {self._log_of(number)}; then run the same command again.",
            )

    def _log_of(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"


def _last_words(log: Path) -> str:
    """What a worker ended with: an error of ours, or the last line of a traceback."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line and not line.startswith("  ")]
    return said[-1].removeprefix("Error: ") if said else "nothing."


def _environment(share: Share) -> Mapping[str, str]:
    given = dict(os.environ)
    if share.gpu is not None:
        given["CUDA_VISIBLE_DEVICES"] = share.gpu
    return given
