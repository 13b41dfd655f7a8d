"""Leads a sweep on this machine, or joins one that another process leads."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vertiform.cli import session
from vertiform.cli.sweeping.crew import SECONDS_BETWEEN_LOOKS, Crew, shares
from vertiform.cli.sweeping.doors import Door, open_door
from vertiform.cli.sweeping.ending import Ending, end, values_over_seeds
from vertiform.cli.sweeping.jobs import Job
from vertiform.cli.sweeping.setup import Setup
from vertiform.cli.sweeping.trial import JOURNAL
from vertiform.cli.sweeping.working import lead_together
from vertiform.errors import TrainingError

if TYPE_CHECKING:
    from vertiform.sweeps.outcome import Confirmation as Confirmed
    from vertiform.sweeps.study import Study
    from vertiform.tracking.runs import Run
    from vertiform.tracking.store import Store

SECONDS_TO_SAVE = 120.0  # that trials have to save what they are at, when asked to end
SECONDS_FOR_LEADER = 60.0  # to open its run, whose children the trials of those that join are
WORKER = "vertiform.cli.sweeping.worker"
LOCK = "leader.lock"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep that this process has open.

    words: the door and the overrides, as they were given; the workers are given the same.
    leads: whether its run, its pictures and its report are ours.
    """

    setup: Setup
    study: "Study"
    store: "Store"
    door: Door
    words: Sequence[str]
    leads: bool

    def lead(self) -> Ending:
        """Run what trials are left, confirm the best, and keep what came out under one run."""
        from vertiform.tracking.runs import start_run, wait_for_runs
        from vertiform.training.checkpoints import fingerprint_of

        setup, config = self.setup, self.setup.config
        own = self.door.own(config)
        with start_run(
            self.store,
            f"sweep {setup.name}",
            experiment=session.experiment_of(config, self.door.experiment),
            kind="sweep",
            config=own | {"sweep": setup.sweep | {"space": setup.search.space.as_json()}},
            lineage=session.lineage_of(config, data=self.door.data),
            identity=fingerprint_of({"sweep": self.study.facts.uid}, data_sha256=""),
            tags={"vertiform.study": setup.name},
            reopens=True,
        ) as run:
            self._note_run(self.study, run)
            logger.info("Searching in %s; the same command goes on if this one ends.", setup.folder)
            self._work(setup.search_job(), self.study)
            confirmed = self._confirmed(run)
            wait_for_runs(self.store, _journals(self.store, self.study))
            return end(run, setup, self.study, confirmed)

    def join(self) -> None:
        """Run trials for the one that leads, as long as there are some."""
        give_up = time.monotonic() + SECONDS_FOR_LEADER
        while self.study.run is None and time.monotonic() < give_up:
            time.sleep(0.5)
        self._work(self.setup.search_job(), self.study)
        print(
            f"\nAll trials have ended. {self.study.facts.host} leads the sweep and reports on it."
        )

    def _confirmed(self, run: "Run") -> "Confirmed | None":
        """Run the best trial and the configuration as it is over seeds that are new to both."""
        from vertiform.tracking.runs import wait_for_runs

        best = self.study.best_number()
        if not (best and self.setup.sweep["confirmation_seeds"]):
            return None  # trial 0 is the configuration as it is; or there is no one best
        job = self.setup.confirming(best)
        study = self.setup.open_study(job)
        try:
            study.begin(self.study.facts.identity, first=job.runs)
            self._note_run(study, run)
            logger.info(
                "Trial %d was best. It is trained again over %d seeds, beside the configuration "
                "as it is.",
                *(best, len(job.seeds)),
            )
            self._work(job, study, f"--confirms={best}")
            wait_for_runs(self.store, _journals(self.store, study))
            return values_over_seeds(job, study)
        finally:
            study.close()

    def _note_run(self, study: "Study", run: "Run") -> None:
        """Tell the workers whose children their trials are; those elsewhere need its id."""
        is_shared = self.setup.sweep["storage"] is not None
        study.note_run(journal=run.journal_name, run_id=run.id if is_shared else None)

    def _work(self, job: Job, study: "Study", *options: str) -> None:
        """Have workers run all trials of a job that nobody else runs, and show them."""
        from vertiform.training.distributed import place

        job.folder.mkdir(parents=True, exist_ok=True)
        if place().ranks > 1:
            with _shown_beside(job, study):
                look = partial(self._check_failures, job, study)
                lead_together(self.setup, job, study, after_each=look)
            return
        crew = Crew(
            command=(WORKER, *self.words, *options),
            shares=shares(self.setup.sweep["workers"], gpus=_gpus(self.setup.config)),
            folder=job.folder,
        )
        with _ended_with(crew), _shown(job, study) as show:

            def watch() -> None:
                show()
                self._check_failures(job, study)

            crew.work(study, watch=watch)

    def _check_failures(self, job: Job, study: "Study") -> None:
        if len(reasons := study.reasons()) > job.max_failed:
            most = self.setup.sweep["max_failure_fraction"]
            raise TrainingError(
                f"{len(reasons)} of {job.n_trials} trials have failed, more than "
                f"max_failure_fraction ({most}) allows. The last ones: {'; '.join(reasons[-3:])}.",
                fix=f"read {job.folder}/trials/<number>/log.txt, and narrow the space; or raise "
                "max_failure_fraction and run the same command again.",
            )


@contextmanager
def opened(setup: Setup, words: Sequence[str]) -> Iterator[Sweep]:
    """Open what a sweep reads and its study, which begins with the configuration as it is.

    Whoever comes first leads it, from this folder of this machine: another process here joins, and
    so does one elsewhere. When the leader is gone, the same command in its folder leads again.
    """
    from vertiform.tracking.locks import Lock

    store = session.training_store_of(setup.config)
    door = open_door(setup.door, setup.config, store=store)
    study = setup.open_study(setup.search_job())
    setup.folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(setup.folder / LOCK)
    try:
        study.begin(setup.identity(door.data_sha256), first=setup.queued)
        leads = study.is_led_from_here() and lock.acquire()
        yield Sweep(setup=setup, study=study, store=store, door=door, words=words, leads=leads)
    finally:
        lock.release()
        study.close()


@contextmanager
def _shown(job: Job, study: "Study") -> Iterator[Callable[[], None]]:
    """Give what draws the table, which is drawn once more at the end."""
    from vertiform.sweeps.table import Table

    # Of its own: a trial in this process has its stderr go to its log.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as out:
        table = Table(out, study.watched(job.objectives.names, title=job.title))
        try:
            yield lambda: table.show(study.trials())
        finally:
            table.close(study.trials())


@contextmanager
def _shown_beside(job: Job, study: "Study") -> Iterator[None]:
    """Draw the table from a thread while this process runs the trials."""
    has_ended = threading.Event()
    with _shown(job, study) as show:

        def draw() -> None:
            while not has_ended.wait(SECONDS_BETWEEN_LOOKS):
                show()

        thread = threading.Thread(target=draw, name="table", daemon=True)
        thread.start()
        try:
            yield
        finally:
            has_ended.set()
            thread.join()


@contextmanager
def _ended_with(crew: Crew) -> Iterator[None]:
    """End the workers with the block: asked first, so that they save what they are at."""
    try:
        yield
    except BaseException:
        logger.warning("Ending: the trials that run are saved. Ctrl-C again does not wait for it.")
        try:
            killed = crew.stop(seconds=SECONDS_TO_SAVE)
        except KeyboardInterrupt:
            crew.kill()
            raise
        if killed:
            logger.warning("%d workers did not end in time and were killed.", killed)
        raise


def _journals(store: "Store", study: "Study") -> list[str]:
    """The journals of the trials' runs that lie on this disk; those of others they see to."""
    from vertiform.tracking.shipper import journals_of

    noted = [trial.user_attrs.get(JOURNAL) for trial in study.trials()]
    return [name for name in noted if name and (journals_of(store.root) / name).is_dir()]


def _gpus(config: dict[str, Any]) -> list[str]:
    """The GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them."""
    if config["trainer"]["accelerator"] == "cpu":
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return [name.strip() for name in visible.split(",")]
    return [str(number) for number in range(torch.cuda.device_count())]
