"""A run as small as training gets: it logs, keeps how far it is, and goes on from there.

It is a process of its own, so that it can be killed. As real training does, it repeats the steps
since its last checkpoint; as real training here does, a step repeated gives the same values.
"""

import argparse
import itertools
import logging
import os
import time
from pathlib import Path

from tests.tracking.examples import a_run
from vertiform.doors import exit_on_user_error
from vertiform.tracking.runs import Run
from vertiform.tracking.store import store_at

STEPS_BETWEEN_CHECKPOINTS = 10
NUM_METRICS = 20
SECONDS_BACK = 3600.0


def value_of(metric: int, step: int) -> float:
    """What the metric is at the step, whichever process of the run computes it."""
    return step / 7 + metric


def name_of(metric: int) -> str:
    """The name of a metric."""
    return f"train/metric_{metric:02d}"


def main() -> None:
    """Train until somebody writes the file `enough`."""
    options = _options()
    store = store_at(options.store, root=options.root)
    if options.clock_back_each:
        _set_clock_back(options.clock_back_each, options.folder / "clock.txt")
    with (
        exit_on_user_error(),
        a_run(store, options.name, identity=options.name, in_background=True) as run,
    ):
        _train(run, options)
    logging.getLogger(__name__).info("The run `%s` is over.", options.name)


def _train(run: Run, options: argparse.Namespace) -> None:
    accepted = os.open(options.folder / "accepted.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    checkpoint = options.folder / "checkpoint.txt"
    first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 0
    for step in itertools.count(first):
        points = {name_of(metric): value_of(metric, step) for metric in range(NUM_METRICS)}
        run.log_points(points, step=step)
        os.write(accepted, b"%d\n" % step)  # only after the call has returned
        if step % STEPS_BETWEEN_CHECKPOINTS == 0:
            _save(run, checkpoint, step)
        if options.text_bytes and step % STEPS_BETWEEN_CHECKPOINTS == 0:
            run.log_text(f"{step} " * (options.text_bytes // 5), f"texts/{step}.txt")
        if (options.folder / "enough").exists():
            return
        time.sleep(options.seconds_a_step)


def _save(run: Run, checkpoint: Path, step: int) -> None:
    """Save as training does: what was logged is on the disk before the step counts as done."""
    try:
        run.sync()
    except Exception as error:  # a full disk is what some of these tests are about
        logging.getLogger(__name__).warning("no checkpoint at step %d: %s", step, error)
        return
    aside = checkpoint.with_suffix(".aside")
    aside.write_text(str(step))
    aside.replace(checkpoint)


def _set_clock_back(each_readings: int, counted: Path) -> None:
    """Let this process's clock fall back an hour every so many readings, and write down how often.

    No other clock of the machine is touched: what is replaced is `time.time_ns`, which the journal
    reads.
    """
    real, readings = time.time_ns, itertools.count(1)
    back = [0]

    def reading() -> int:
        if next(readings) % each_readings == 0:
            back[0] += int(SECONDS_BACK * 1e9)
            with counted.open("a") as file:
                file.write("back\n")
        return real() - back[0]

    time.time_ns = reading


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--store", default=None)
    parser.add_argument("--seconds-a-step", type=float, default=0.01)
    parser.add_argument("--text-bytes", type=int, default=0)
    parser.add_argument("--clock-back-each", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
