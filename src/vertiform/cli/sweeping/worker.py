"""A worker of a sweep: imports once, then trains one trial after the other until there is none.

python -m vertiform.cli.sweeping.worker --worker 0 --cores 0,1 ... finetune domain=software ...
"""

import argparse
import os
import signal
import threading
from collections.abc import Sequence

from vertiform.doors import exit_on_user_error

STDIN = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Work on what the command line of the sweep says."""
    options = _parser().parse_args(arguments)
    # Before torch is imported, which sizes its pools by them.
    os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
    _end_with_parent()
    with exit_on_user_error():
        from vertiform.cli.sweeping.working import work

        work(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vertiform.cli.sweeping.worker")
    parser.add_argument("--worker", type=int, required=True, help="its number on this machine")
    parser.add_argument("--cores", required=True, help="that it may use, such as 0,1")
    parser.add_argument("--confirms", type=int, help="the trial to confirm; else it searches")
    parser.add_argument("door")
    parser.add_argument("overrides", nargs="*")
    return parser


def _end_with_parent() -> None:
    """Ask this process to end, as SIGTERM does, when the one that started it is gone."""
    threading.Thread(target=_wait_for_end_of_input, name="parent", daemon=True).start()


def _wait_for_end_of_input() -> None:
    while os.read(STDIN, 1):  # not by sys.stdin, whose lock Python wants back when it ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
