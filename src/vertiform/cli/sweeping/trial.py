"""One trial: trained by its door, a run of its own in MLflow, and its end told to the study."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import identity, session
from vertiform.cli.compose import instantiate
from vertiform.cli.sweeping.doors import Door, Trained
from vertiform.cli.sweeping.jobs import Config, Job
from vertiform.errors import StorageError, VertiformError

if TYPE_CHECKING:
    from vertiform.sweeps.study import Study, Trial
    from vertiform.tracking.lineage import Lineage
    from vertiform.tracking.runs import Run
    from vertiform.tracking.store import Store
    from vertiform.training.trainer import TrainerParams

STATE = "vertiform.trial_state"  # tag: complete, pruned or failed; none of one under way
LOG = "log.txt"  # of a trial, in its folder and among its run's artifacts
JOURNAL = "journal"  # beside a trial in the study: the journal of its run
RESULT = "result"  # likewise: what it came to
CHECKPOINTS = "checkpoints"  # likewise: the name of the folder that it goes on from

logger = logging.getLogger(__name__)


@dataclass
class TrialJudge:
    """Passes what a validation found on to the study, and its answer back."""

    trial: "Trial"
    monitor: str

    def should_prune(self, metrics: Mapping[str, float], *, step: int) -> bool:
        """Report the step, and ask."""
        return self.trial.report(metrics[self.monitor], step=step)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every trial of one worker is trained with, opened once.

    announce: called with a trial's configuration and fingerprint before it is trained, for the
              processes that a launcher started beside this one.
    """

    job: Job
    door: Door
    study: "Study"
    store: "Store"
    lineage: "Lineage"
    parent: str | None  # journal of the sweep's run, if this project has it
    tags: Mapping[str, str] = field(default_factory=dict)
    announce: Callable[[Config, str], object] = lambda config, fingerprint: None


def run_trial(bench: Bench, trial: "Trial") -> bool:
    """Train a trial to its end, and tell the study what it came to.

    A trial that fails is told with its reason, and is no error here. Returns whether this process
    is fit for another: after an error that is none of ours it may not be, such as one of a kernel
    on a GPU, after which every other call fails. Raises what ends a worker, whose trial goes on
    later: a full disk or a study that does not answer, which the next trial would meet too, and
    SystemExit of one that was asked to end.
    """
    from vertiform.sweeps.study import is_storage_trouble

    is_fit = True
    folder = _folder_of(bench, trial)
    with logged_to(folder / LOG):
        try:
            if not _has_ended(bench, trial):
                _tracked(bench, trial, folder=folder)
        except (StorageError, SystemExit, KeyboardInterrupt):
            bench.study.give_back(trial)
            raise
        except Exception as error:
            if is_storage_trouble(error):
                raise  # the trial is taken up again, by a worker that has a study
            _say(error, trial)
            bench.study.tell_failed(trial, _reason(error))
            is_fit = isinstance(error, VertiformError)
        else:
            _tell(bench.study, trial)
    shutil.rmtree(folder / "model", ignore_errors=True)
    if CHECKPOINTS in trial.notes:
        shutil.rmtree(identity.UNFINISHED / trial.notes[CHECKPOINTS], ignore_errors=True)
    return is_fit


def _folder_of(bench: Bench, trial: "Trial") -> Path:
    return bench.job.folder / "trials" / f"{trial.number:04d}"


def _has_ended(bench: Bench, trial: "Trial") -> bool:
    """Whether its run is finished, and only the study was not told before its worker died."""
    from vertiform.tracking.runs import has_finished

    journal = trial.notes.get(JOURNAL)
    return journal is not None and RESULT in trial.notes and has_finished(bench.store, journal)


def _tell(study: "Study", trial: "Trial") -> None:
    values = trial.notes[RESULT]["values"]
    if values is None:
        study.tell_pruned(trial)
    else:
        study.tell(trial, values)


def _tracked(bench: Bench, trial: "Trial", *, folder: Path) -> None:
    """Train under a run in MLflow that ends with it; note the result beside the trial."""
    from vertiform.tracking.runs import start_run
    from vertiform.training.pruning import Pruned

    config = bench.job.config_of(trial.values)
    own = bench.door.own(config)
    fingerprint = _fingerprint(bench, own, trial)
    trial.note(CHECKPOINTS, fingerprint)
    with start_run(
        bench.store,
        bench.job.name_of(trial.number, trial.values),
        experiment=session.experiment_of(config, bench.door.experiment),
        kind=bench.job.kind,
        config=own | {"search": trial.values},
        lineage=bench.lineage,
        identity=fingerprint,
        parent=bench.parent,
        tags=_tags(bench, trial),
        waits=False,
    ) as run:
        trial.note(JOURNAL, run.journal_name)
        try:
            trained = _trained(bench, trial, config, fingerprint=fingerprint, run=run, out=folder)
            values = bench.job.objectives.values_of(trained, door=bench.door, config=config)
            _log(run, trained)
            trial.note(RESULT, {"values": values, "metrics": trained.metrics})
        except Pruned as pruned:  # to MLflow it has finished
            run.set_tags({STATE: "pruned", "vertiform.pruned_at_step": str(pruned.step)})
            trial.note(RESULT, {"values": None, "step": pruned.step})
        except Exception:
            run.set_tags({STATE: "failed"})
            raise
        finally:
            _keep_log(run, folder / LOG)


def _trained(
    bench: Bench, trial: "Trial", config: Config, *, fingerprint: str, run: "Run", out: Path
) -> Trained:
    """Train it, in smaller parts where the memory does not suffice."""
    from vertiform.training.memory import with_less_memory

    def train(trainer: "TrainerParams") -> Trained:
        return bench.door.train(
            config,
            out=out / "model",
            fingerprint=fingerprint,
            trainer=trainer,
            sink=run,
            judge=TrialJudge(trial, config["monitor"]) if bench.job.prunes else None,
        )

    def say(smaller: "TrainerParams") -> None:
        run.set_tags({"vertiform.accumulation": str(smaller.accumulation)})

    bench.announce(config, fingerprint)
    return with_less_memory(
        train,
        instantiate(config["trainer"]),
        largest_accumulation=bench.door.largest_accumulation(config),
        on_retry=say,
    )


def _log(run: "Run", trained: Trained) -> None:
    from vertiform.evaluation import names

    run.log_metrics({names.best(name): value for name, value in trained.metrics.items()})
    run.set_tags({STATE: "complete", "energy.method": trained.energy_method})


def _tags(bench: Bench, trial: "Trial") -> dict[str, str]:
    return {
        **bench.tags,
        "vertiform.study": bench.study.optuna.study_name,
        "vertiform.trial": str(trial.number),
        "vertiform.log": (_folder_of(bench, trial) / LOG).as_posix(),
        "vertiform.overrides": bench.job.overrides_of(trial.values),
    }


def _fingerprint(bench: Bench, own: Config, trial: "Trial") -> str:
    """What makes the trial this trial: two with equal values are two."""
    which = f"{bench.study.facts.uid} {bench.study.optuna.study_name} {trial.number}"
    return identity.identity_of(own, data_sha256=f"{bench.door.data_sha256} {which}")


def _keep_log(run: "Run", log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # on a full disk what ended the trial matters more
        run.log_text(log.read_text(encoding="utf-8", errors="replace"), LOG)


def _say(error: Exception, trial: "Trial") -> None:
    """Into the trial's log; with where it happened, unless it says so itself."""
    is_ours = isinstance(error, VertiformError)
    logger.error("Trial %d failed: %s", trial.number, error, exc_info=not is_ours)


def _reason(error: Exception) -> str:
    return (
        error.problem if isinstance(error, VertiformError) else f"{type(error).__name__}: {error}"
    )


@contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """Append what this process writes to stdout and stderr to `file`, whoever writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
        os.close(log)
