"""Promotes from many real processes at once, and stops or kills one in the middle of its move."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tracking.examples import promoted
from vertiform.errors import TrackingError
from vertiform.tracking.registry import find_version
from vertiform.tracking.store import Store, open_store

# Forked after mlflow was imported, so that fifty processes cost seconds and not minutes.
FORK = multiprocessing.get_context("fork")
SECONDS_TO_WAIT = 300.0  # on a machine that is busy with other tests


Act = Callable[[Store], int]
"""What a process does with a store that it opened; returns the number of what it made."""


@dataclass(frozen=True)
class Result:
    """What came of one contestant: its entry in the ledger, or the error that it ended with."""

    entry: int | None
    error: str | None


@dataclass(frozen=True)
class Step:
    """A call to MLflow in the middle of a move, named by the alias or mark that it sets."""

    method: str
    key: str | None = None  # the alias or tag; None for any
    after: bool = False  # the call, or before it

    def __str__(self) -> str:
        named = f"{self.method} {self.key}" if self.key else self.method
        return f"{'after' if self.after else 'before'} {named}"


STEPS = [
    Step("create_model_version"),
    Step("create_model_version", after=True),
    Step("set_registered_model_alias", "staging"),
    Step("set_registered_model_alias", "staging", after=True),
    Step("set_model_version_tag", "applied", after=True),
    Step("set_registered_model_alias", "previous-staging"),
    Step("set_registered_model_alias", "previous-staging", after=True),
]


def race(uri: str, name: str, versions: Sequence[int], folder: Path) -> list[Result]:
    """Let a process for each of `versions` ask for staging, all at the same moment.

    uri: of a SQLite store or of a server; mlflow must have been imported by now.
    """
    start = FORK.Event()
    processes = [
        FORK.Process(
            target=_act, args=(uri, promoting(name, version), folder / f"{number}.json", start)
        )
        for number, version in enumerate(versions)
    ]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(SECONDS_TO_WAIT)
        assert process.exitcode == 0, f"a contestant ended with {process.exitcode}"
    values = [json.loads((folder / f"{n}.json").read_text()) for n in range(len(versions))]
    return [Result(**value) for value in values]


def promoting(name: str, version: int) -> Act:
    """Ask for staging with a verdict that every gate passed."""

    def act(store: Store) -> int:
        asking = find_version(store, name, version)
        return promoted(store, asking, reason=f"process {os.getpid()}").number

    return act


class Stopped:
    """A process of its own that stops itself for real (SIGSTOP) at each step of what it does."""

    def __init__(self, uri: str, act: Act, folder: Path, *steps: Step) -> None:
        self._out = folder / "stopped.json"
        self._process = FORK.Process(
            target=_act, args=(uri, act, self._out, None, steps), daemon=True
        )
        self._process.start()
        self._wait_until_stopped()

    def kill(self) -> None:
        """SIGKILL it where it stands."""
        os.kill(self._pid, signal.SIGKILL)
        self._process.join(SECONDS_TO_WAIT)
        assert self._process.exitcode == -signal.SIGKILL

    def wake(self) -> Result:
        """Let it go on, and return what came of it."""
        os.kill(self._pid, signal.SIGCONT)
        self._process.join(SECONDS_TO_WAIT)
        assert self._process.exitcode == 0
        return Result(**json.loads(self._out.read_text()))

    def wake_to_next(self) -> None:
        """Let it go on to its next step."""
        os.kill(self._pid, signal.SIGCONT)
        self._wait_until_stopped()

    def _wait_until_stopped(self) -> None:
        _, status = os.waitpid(self._pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "it ended before its step: no fault, no test"

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


def _act(uri: str, act: Act, out: Path, start: Any = None, steps: Sequence[Step] = ()) -> None:
    store = open_store(uri, root=out.parent)  # a connection must not be shared across a fork
    for step in steps:
        setattr(store.client, step.method, _stopping(getattr(store.client, step.method), step))
    if start:
        start.wait()
    try:
        entry, error = act(store), None
    except TrackingError as trouble:
        entry, error = None, str(trouble)
    out.write_text(json.dumps({"entry": entry, "error": error}))


def _stopping(call: Callable[..., Any], step: Step) -> Callable[..., Any]:
    """Stop this process at the first call of the step; the next one goes through."""
    waiting = [step]

    def stopping(*arguments: Any, **options: Any) -> Any:
        is_it = bool(waiting) and (step.key is None or step.key in arguments)
        if is_it:
            waiting.clear()
        if is_it and not step.after:
            os.kill(os.getpid(), signal.SIGSTOP)
        answer = call(*arguments, **options)
        if is_it and step.after:
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    return stopping
