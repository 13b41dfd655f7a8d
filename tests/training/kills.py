"""Kills training processes for real, and holds what they come to against a run left alone."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vertiform.files import sha256_of
from vertiform.training.metrics import MetricSink
from vertiform.training.trainer import TrainerParams

# A forked process is killed like any other, without the seconds a new one needs for its imports.
FORK = multiprocessing.get_context("fork")
SECONDS_TO_WAIT = 120.0
NOT_COMPARED = ("speed/", "memory/", "system/", "energy/")  # no two runs share them

Train = Callable[[Path, str, TrainerParams, MetricSink], None]
"""Trains to folder/<name>, with its checkpoints in folder/checkpoints/<name>, and a sink."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One SIGKILL.

    seconds:  since the process was started.
    step:     the last one it had logged, 0 if none.
    saved:    the step of the newest whole checkpoint it left behind, 0 if none.
    in_write: what it was in the middle of writing, or None.
    """

    seconds: float
    step: int
    saved: int
    in_write: str | None


@dataclass(kw_only=True)
class Story:
    """What happened to a run: its kills, and after each the step that it went on from."""

    work: str
    seed: int
    workers: int
    accumulation: int
    kills: list[Kill] = field(default_factory=list)
    went_on_from: list[int] = field(default_factory=list)
    ended_in_same_bits: bool = False

    def lines(self) -> list[str]:
        """One line a kill, for people."""
        told = f"{self.work}, {self.workers} loader workers, accumulation {self.accumulation}"
        return [
            f"{told}, seed {self.seed}: killed {kill.seconds:.3f} s after its start, at step "
            f"{kill.step}{f', writing {kill.in_write}' if kill.in_write else ''}; "
            f"went on from step {step}"
            for kill, step in zip(self.kills, self.went_on_from, strict=True)
        ]


class Journal:
    """A sink that hands each point to the kernel at once, which keeps it when this process dies."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Append a line."""
        os.write(self._file, (json.dumps([step, dict(points)]) + "\n").encode())

    def log_text(self, text: str, file: str) -> None:
        """Append nothing: a text is a function of the weights, and those are compared whole."""

    def sync(self) -> None:
        """Sync nothing: a process is killed here, not the machine."""


def points_in(journal: Path) -> list[tuple[int, str, float]]:
    """Every comparable point of a journal, as (step, name, value)."""
    # Up to the last end of a line: what follows is still being written while this reads.
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return [
        (step, name, value)
        for step, points in map(json.loads, lines)
        for name, value in points.items()
        if not name.startswith(NOT_COMPARED)
    ]


def left_alone(train: Train, folder: Path, name: str, trainer: TrainerParams) -> None:
    """Train to the end, here: what killed runs are held against. Warms this process up, too."""
    train(folder, name, trainer, Journal(folder / f"{name}.journal"))


def killed_again_and_again(
    train: Train,
    folder: Path,
    name: str,
    trainer: TrainerParams,
    *,
    at_steps: list[int],
    story: Story,
) -> list[Path]:
    """Kill the run soon after each of these steps, every other time in mid-write, then let it end.

    Return the journals of all its processes, and complete the story.
    """
    rng = random.Random(story.seed)
    checkpoints = folder / "checkpoints" / name
    journals = []
    for number, step in enumerate([*at_steps, None]):
        journals.append(folder / f"{name}.journal-{number}")
        process = FORK.Process(target=_train, args=(train, folder, name, trainer, journals[-1]))
        started = time.monotonic()
        process.start()
        if step is None:
            process.join(SECONDS_TO_WAIT)
            assert process.exitcode == 0, (folder / f"{name}.log").read_text()
        else:
            wait_for(lambda at=step: last_step(journals[-1]) >= at, process)
            time.sleep(rng.uniform(0, 0.02))
            if number % 2 == 1:
                wait_for(lambda: in_write(checkpoints) is not None, process, pause=0)
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            seconds = time.monotonic() - started
            process.join()
            assert process.exitcode == -signal.SIGKILL, "it ended before its kill: no fault"
            story.kills.append(
                Kill(
                    seconds=seconds,
                    step=last_step(journals[-1]),
                    saved=newest_step(checkpoints),
                    in_write=in_write(checkpoints),
                )
            )
        if number:
            story.went_on_from.append(points_in(journals[-1])[0][0] - 1)
    return journals


def assert_same_bits(folder: Path, name: str, whole: str, journals: list[Path]) -> None:
    """What was logged, the weights, and the optimiser's state are those of the run left alone."""
    expected = {point[:2]: point for point in points_in(folder / f"{whole}.journal")}
    seen = set()
    for journal in journals:
        for point in points_in(journal):
            assert point == expected[point[:2]], "a point differs"
            seen.add(point[:2])
    assert seen == set(expected), "a point is missing"
    assert sha256_of(folder / name) == sha256_of(folder / whole), "the weights differ"
    last, last_of_whole = (
        max((folder / "checkpoints" / each).glob("step-*")) for each in (name, whole)
    )
    assert last.name == last_of_whole.name
    assert sha256_of(last) == sha256_of(last_of_whole), "the state of the optimiser differs"


def wait_for(happens: Callable[[], bool], process, *, pause: float = 0.0005) -> None:
    """Return when it happens. Fails if the process ends before, or nothing happens for long."""
    until = time.monotonic() + SECONDS_TO_WAIT
    while not happens():
        assert process.is_alive(), "it ended before its kill: no fault, no test"
        if time.monotonic() > until:
            process.kill()  # or it would outlive the test, and hold the terminal's pipes open
            raise AssertionError("nothing happens any more")
        if pause:
            time.sleep(pause)


def last_step(journal: Path) -> int:
    """The last step in a journal, 0 if there is none."""
    points = points_in(journal)
    return points[-1][0] if points else 0


def newest_step(checkpoints: Path) -> int:
    """The step of the newest checkpoint on disk, 0 if there is none."""
    return max((int(p.name.split("-")[1]) for p in checkpoints.glob("step-*")), default=0)


def in_write(checkpoints: Path) -> str | None:
    """The name of the folder that is being written, or was when its writer died."""
    aside = [*checkpoints.glob(".step-*"), *checkpoints.glob(".best-*")]
    return min((path.name[1 : len(".step-00000000")] for path in aside), default=None)


def _train(train: Train, folder: Path, name: str, trainer: TrainerParams, journal: Path) -> None:
    log = os.open(folder / f"{name}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    # The parent's OpenMP threads did not come along, and a product on several would wait for them.
    torch.set_num_threads(1)
    train(folder, name, trainer, Journal(journal))
