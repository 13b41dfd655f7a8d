"""A worker of a crew that trains nothing: `python -m tests.sweeps.member <folder> <how> ...`.

how: works; dies (at once); stumbles (dies once, in its first trial); chokes (dies of trial 1 each
time); sleeps; is-deaf (to SIGTERM).
"""

import os
import signal
import sys
import time
from pathlib import Path

from tests.sweeps.studies import study_in

READY = "ready"  # a file for each that has started, in the folder


def main(folder: Path, how: str, worker: str, cores: str) -> None:
    print(f"{how} {worker} {cores} on {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
    if how == "dies":
        sys.exit(3)
    if how == "is-deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how in ("sleeps", "is-deaf"):
        (folder / f"{READY}{worker}").touch()
        time.sleep(600)
    _work(folder, how)


def _work(folder: Path, how: str) -> None:
    study = study_in(folder)
    while (trial := study.next_trial()) is not None:
        if how == "stumbles" and not (folder / "stumbled").exists():
            (folder / "stumbled").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "chokes" and trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        study.tell(trial, [trial.values["x"]])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
