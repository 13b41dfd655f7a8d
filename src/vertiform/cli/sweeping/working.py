"""What a worker does: it opens the study for itself, and runs trials until there is none."""

import argparse
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import session
from vertiform.cli.compose import instantiate
from vertiform.cli.sweeping.doors import open_door
from vertiform.cli.sweeping.jobs import Config, Job
from vertiform.cli.sweeping.setup import Setup, read_setup
from vertiform.cli.sweeping.trial import Bench, run_trial

if TYPE_CHECKING:
    from vertiform.sweeps.study import Study

logger = logging.getLogger(__name__)


def work(options: argparse.Namespace) -> None:
    """Run trials of the study that the command line names, in this process."""
    setup = read_setup(options.door, options.overrides)
    job = setup.search_job() if options.confirms is None else setup.confirming(options.confirms)
    study = setup.open_study(job)
    try:
        run_trials(bench_of(setup, job, study))
    finally:
        study.close()


def bench_of(setup: Setup, job: Job, study: "Study") -> Bench:
    """Open what all trials of this worker share."""
    run = study.run or {"journal": None, "run_id": None}
    is_here = study.is_led_from_here()
    store = session.training_store_of(setup.config)
    door = open_door(setup.door, setup.config, store=store)
    return Bench(
        job=job,
        door=door,
        study=study,
        store=store,
        lineage=session.lineage_of(setup.config, data=door.data),
        parent=run["journal"] if is_here else None,
        tags={} if is_here or run["run_id"] is None else {"mlflow.parentRunId": run["run_id"]},
    )


def run_trials(bench: Bench) -> None:
    """Take one trial after the other, as long as there is one and this process is fit for it."""
    while (trial := bench.study.next_trial()) is not None:
        if not run_trial(bench, trial):
            return  # a new process takes the next


def lead_together(
    setup: Setup, job: Job, study: "Study", *, after_each: Callable[[], None]
) -> None:
    """Run all trials in the processes that a launcher started, of which this is the first."""
    from vertiform.training.distributed import from_first

    def announce(config: Config, fingerprint: str) -> object:
        return from_first(lambda: (config, fingerprint))

    bench = replace(bench_of(setup, job, study), announce=announce)
    while (trial := study.next_trial()) is not None:
        run_trial(bench, trial)
        after_each()


def follow(setup: Setup) -> None:
    """Train whatever the first process announces beside it, until it lets go."""
    from vertiform.training.distributed import from_first
    from vertiform.training.metrics import NoSink
    from vertiform.training.pruning import Pruned

    door = open_door(setup.door, setup.config, store=None)
    while (told := from_first(_nothing)) is not None:
        config, fingerprint = told
        try:
            door.train(
                config,
                out=Path(os.devnull),
                fingerprint=fingerprint,
                trainer=instantiate(config["trainer"]),
                sink=NoSink(),
                judge=None,
            )
        except Pruned:
            pass
        except Exception as error:  # the first process had it too, and tells the study
            logger.debug("A trial failed: %s", error)


def let_go() -> None:
    """Tell the processes that follow that there is no other trial."""
    from vertiform.training.distributed import from_first

    from_first(_nothing)


def _nothing() -> tuple[Config, str] | None:
    return None
