"""Programs that run beside us: started, waited for, and ended in order."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vertiform.errors import TrackingError

SECONDS_TO_START = 120  # of a machine that is busy with other things
SECONDS_TO_END = 30


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    answers: Callable[[], bool],
    user: str | None = None,
    ends_at: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen]:
    """Run a program until the block ends; it is given once `answers` says that it serves.

    environment: the whole of it: a program sees only the secrets that it needs, and none of them
    stands in its command line. ends_at: the signal by which it ends in good order.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,  # Ctrl-C reaches us alone: we end them, the last one first
        )
    try:
        _wait_for(process, answers, log)
        yield process
    finally:
        _end(process, ends_at)


def answers_http(address: str) -> Callable[[], bool]:
    """Return a question that is True once a GET of `address` is answered by 200."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    return ask


def ended(process: subprocess.Popen, log: Path) -> TrackingError:
    """Say that a program ended by itself, and where it wrote why."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return TrackingError(
        f"{_name(process)} ended with code {process.returncode}; its last line: "
        f"{lines[-1][:300] if lines else 'none'}",
        fix=f"read {log}, put right what it says, and start the server again.",
    )


def _wait_for(process: subprocess.Popen, answers: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not answers():
        if process.poll() is not None:
            raise ended(process, log)
        if time.monotonic() > deadline:
            raise TrackingError(
                f"{_name(process)} did not answer within {SECONDS_TO_START} s.",
                fix=f"read {log}; close other programs if the machine is busy.",
            )
        time.sleep(0.1)


def _end(process: subprocess.Popen, ends_at: signal.Signals) -> None:
    """Ask it to end; after a while, end it and all that it started."""
    process.send_signal(ends_at)
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_END)
    with suppress(ProcessLookupError):  # what it started is gone too, as it should be
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _name(process: subprocess.Popen) -> str:
    words = [word for word in map(str, process.args) if not word.startswith("-")]  # type: ignore
    return " ".join(Path(word).name for word in words[:2])
