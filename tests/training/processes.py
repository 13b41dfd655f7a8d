"""Starts the processes of one run as a launcher would; forked, so nothing is imported again."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.distributed import TCPStore

SECONDS = 60  # on a busy machine; a test takes a few


class Together:
    """Processes that run `work(*arguments)`, each in its place among `ranks`."""

    def __init__(self, ranks: int, work: Callable[..., Any], *arguments: Any) -> None:
        # Where they meet, on a port that is free because it is taken here. torchrun does the same.
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        fork = multiprocessing.get_context("fork")
        self._pipes = []
        self.processes = []
        for rank in range(ranks):
            ours, theirs = fork.Pipe(duplex=False)
            place = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": ranks,
                "LOCAL_WORLD_SIZE": ranks,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": self._store.port,
                "TORCHELASTIC_USE_AGENT_STORE": True,
            }
            process = fork.Process(target=_run, args=(place, theirs, work, arguments), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self.processes.append(process)

    def results(self) -> list[Any]:
        """What each returned, by rank. Raises AssertionError with what one raised."""
        try:
            return [_received(pipe, rank) for rank, pipe in enumerate(self._pipes)]
        finally:
            self.kill()

    def exit_codes(self) -> list[int | None]:
        """How each ended."""
        for process in self.processes:
            process.join(SECONDS)
        codes = [process.exitcode for process in self.processes]
        self.kill()
        return codes

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End those that are still there."""
        for process in self.processes:
            if process.is_alive():
                assert process.pid is not None
                os.kill(process.pid, number)
        for process in self.processes:
            process.join(SECONDS)


def together(ranks: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run work(*arguments) in `ranks` processes of one run; return what each returned, by rank."""
    return Together(ranks, work, *arguments).results()


def _received(pipe: Connection, rank: int) -> Any:
    assert pipe.poll(SECONDS), f"process {rank} says nothing"
    try:
        has_returned, value = pipe.recv()
    except EOFError:
        raise AssertionError(f"process {rank} ended without a word") from None
    assert has_returned, f"process {rank} raised:\n{value}"
    return value


def _run(place: dict[str, Any], pipe: Connection, work: Callable[..., Any], arguments: Any) -> None:
    os.environ.update({name: str(value) for name, value in place.items()})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(
        1
    )  # what the parent's other threads were is gone, and would be waited for
    try:
        value = work(*arguments)
    except Exception:
        pipe.send((False, traceback.format_exc()))
        raise SystemExit(1) from None
    pipe.send((True, value))
