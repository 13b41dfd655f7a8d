"""A study: its trials, who is next, and what came of them. Every worker opens it for itself.

A trial keeps its number whatever happens: one whose worker died is taken up by the next that asks.
"""

import hashlib
import logging
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from vertiform.errors import ConfigError, StorageError
from vertiform.sweeps.best import best_of
from vertiform.sweeps.claims import Claims
from vertiform.sweeps.dimensions import Value
from vertiform.sweeps.outcome import Confirmation, Outcome, outcome_of
from vertiform.sweeps.space import Space
from vertiform.sweeps.storage import open_storage
from vertiform.sweeps.table import Watched
from vertiform.sweeps.trial import TAKEN, Trial

FACTS = "vertiform"  # user attribute of a study: what it is of
RUN = "run"  # likewise: the run in MLflow that its trials' runs are children of
REASON = "reason"  # user attribute of a trial that failed
MOST_DEATHS = 3  # of its workers, one after the other and without a validation between

MakeSampler = Callable[[int], BaseSampler]
"""Builds the sampler for one trial from a seed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What makes a study this study: reopened, it must be of the same.

    identity: of the configuration, the data and the space, as a hash.
    uid:      of this study alone, so that one that is made again does not go on with its runs.
    host, root: the machine and the folder where it began: it is led from there.
    """

    identity: str
    uid: str
    host: str
    root: str


class Study:
    """The trials of one search. `n_trials` are those of all calls and workers together."""

    def __init__(
        self,
        study: optuna.Study,
        claims: Claims,
        *,
        space: Space,
        make_sampler: MakeSampler,
        seed: int,
        n_trials: int,
    ) -> None:
        self.optuna = study
        self._claims = claims
        self._space = space
        self._make_sampler = make_sampler
        self._seed = seed
        self._n_trials = n_trials

    @property
    def facts(self) -> Facts:
        """What it is of. Call it once `begin` has run somewhere."""
        return Facts(**self.optuna.user_attrs[FACTS])

    def begin(self, identity: str, *, first: Sequence[Mapping[str, Value]]) -> None:
        """Say what the study is of, and queue the trials that come `first`; or find it begun.

        Raises ConfigError if it was begun with another identity.
        """
        with self._claims.turn():
            begun = self.optuna.user_attrs.get(FACTS)
            if begun is None:
                facts = Facts(identity=identity, uid=uuid.uuid4().hex, **_here())
                self.optuna.set_user_attr(FACTS, asdict(facts))
            elif begun["identity"] != identity:
                name = self.optuna.study_name
                raise ConfigError(
                    f"The study {name} was begun with another space, configuration or data, and "
                    "its trials cannot be compared with new ones.",
                    fix=f"give this one its own name: study={name}-2.",
                )
            # A kill between two of them leaves the rest to the next call.
            for values in first[len(self.trials()) :]:
                self.optuna.enqueue_trial(self._space.params(values))

    def is_led_from_here(self) -> bool:
        """Whether it began in this folder of this machine."""
        return {"host": self.facts.host, "root": self.facts.root} == _here()

    def note_run(self, *, journal: str, run_id: str | None) -> None:
        """Say which run its trials' runs are children of."""
        self.optuna.set_user_attr(RUN, {"journal": journal, "run_id": run_id})

    @property
    def run(self) -> dict[str, Any] | None:
        """Its run: the journal in the folder that leads it, and its id if it was asked for."""
        return self.optuna.user_attrs.get(RUN)

    def trials(self) -> list[FrozenTrial]:
        """Every trial so far, by number; not copies."""
        return self.optuna.get_trials(deepcopy=False)

    def next_trial(self) -> Trial | None:
        """Take up a trial whose worker died, or begin a new one; None if there is none to take."""
        with self._claims.turn():
            trials = self.trials()
            orphan = self._orphan(trials)
            if orphan is not None:
                found = optuna.Trial(self.optuna, orphan._trial_id)
            elif self._is_open(trials):
                self.optuna.sampler = self._make_sampler(_mixed(self._seed, len(trials)))
                found = self.optuna.ask()
            else:
                return None
            is_ours = self._claims.take(found._trial_id)
            assert is_ours, "a trial that nobody runs is free inside a turn"
            values = self._space.suggest(found)
            trial = Trial(found, values=values)
            trial.note_taken()
        return trial

    def has_work(self) -> bool:
        """Whether next_trial would give one."""
        with self._claims.turn():
            trials = self.trials()
            return self._is_open(trials) or self._orphan(trials) is not None

    def is_complete(self) -> bool:
        """Whether all trials there will be have ended."""
        trials = self.trials()
        return len(trials) >= self._n_trials and all(t.state.is_finished() for t in trials)

    def tell(self, trial: Trial, values: Sequence[float]) -> None:
        """End a trial with its values, one for each objective."""
        self._end(trial, TrialState.COMPLETE, list(values))

    def tell_pruned(self, trial: Trial) -> None:
        """End a trial that was told to go no further; its last report is its value."""
        self._end(trial, TrialState.PRUNED, None)

    def tell_failed(self, trial: Trial, reason: str) -> None:
        """End a trial that came to nothing."""
        self._end(trial, TrialState.FAIL, None, reason=reason)

    def give_back(self, trial: Trial) -> None:
        """Leave a trial to whoever comes next: this process was asked to end."""
        with self._claims.turn():
            if self._claims.holds(trial.id):
                trial.note_given_back()
                self._claims.drop(trial.id)

    def best_number(self) -> int | None:
        """The best trial, if there is one objective and one has ended well."""
        best = best_of(self.trials(), self.optuna.directions)
        return best[0].number if len(self.optuna.directions) == 1 and best else None

    def watched(self, objectives: Sequence[str], *, title: str) -> Watched:
        """What a table has to know of it; objectives: their names."""
        return Watched(
            title=title,
            n_trials=self._n_trials,
            objectives=tuple(objectives),
            directions=tuple(self.optuna.directions),
            opened=datetime.now(),
        )

    def outcome(self, objectives: Sequence[str], *, confirmation: Confirmation | None) -> Outcome:
        """What came of it so far; objectives: their names."""
        return outcome_of(
            self.trials(),
            name=self.optuna.study_name,
            space=self._space,
            objectives=objectives,
            directions=self.optuna.directions,
            n_trials=self._n_trials,
            reason_of=_reason_of,
            confirmation=confirmation,
        )

    def rows(self, objectives: Sequence[str]) -> list[dict[str, Any]]:
        """A row for each trial, for a table: number, state, values, the dimensions it had."""
        return [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                **dict(zip(objectives, trial.values or (), strict=False)),
                **self._space.values(trial.params),
            }
            for trial in self.trials()
        ]

    def standing(self) -> list[tuple[TrialState, int, int]]:
        """What another value tells of: a trial was taken, has told a value, or has ended."""
        return [
            (trial.state, trial.user_attrs.get(TAKEN, 0), len(trial.intermediate_values))
            for trial in self.trials()
        ]

    def reasons(self) -> list[str]:
        """Why trials failed, in their order."""
        return [
            f"trial {trial.number}: {_reason_of(trial)}"
            for trial in self.trials()
            if trial.state == TrialState.FAIL
        ]

    def close(self) -> None:
        """Let go of whatever this process holds."""
        self._claims.close()

    def _end(
        self,
        trial: Trial,
        state: TrialState,
        values: list[float] | None,
        *,
        reason: str | None = None,
    ) -> None:
        with self._claims.turn():
            if self._claims.holds(trial.id):
                if reason is not None:
                    trial.note(REASON, reason)
                self.optuna.tell(trial.number, values, state)
                self._claims.drop(trial.id)
            else:
                logger.warning(
                    "Trial %d was silent for too long; another worker has it now, and ends it.",
                    trial.number,
                )

    def _is_open(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether there is one in the queue, or a new one may be begun."""
        is_queued = any(trial.state == TrialState.WAITING for trial in trials)
        return is_queued or len(trials) < self._n_trials

    def _orphan(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The first trial whose worker died. One that died too often is failed. Inside a turn."""
        for trial in trials:
            if trial.state != TrialState.RUNNING or not self._claims.is_orphan(trial._trial_id):
                continue
            if trial.user_attrs.get(TAKEN, 0) < MOST_DEATHS:
                return trial
            reason = f"{MOST_DEATHS} workers in a row died of it, as for want of memory"
            self.optuna._storage.set_trial_user_attr(trial._trial_id, REASON, reason)
            self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            logger.warning("Trial %d is given up: %s.", trial.number, reason)
        return None


def is_storage_trouble(error: Exception) -> bool:
    """Whether an error is of what keeps the study, and so says nothing of the trial it met."""
    return isinstance(error, StorageError | StorageInternalError | SQLAlchemyError)


def open_study(
    name: str,
    *,
    folder: Path,
    address: str | None,
    heartbeat_seconds: int,
    directions: Sequence[str],
    pruner: BasePruner,
    **how: Any,
) -> Study:
    """Open the study `name`, which is made if it is not there. how: of Study.

    folder:     of the sweep on this disk; without an address the study is a file in it.
    address:    of a PostgreSQL database that workers on many machines share.
    directions: "minimize" or "maximize", one for each objective.
    """
    storage, claims_of = open_storage(folder, address, heartbeat_seconds)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[StudyDirection[direction.upper()] for direction in directions],
        pruner=pruner,
        load_if_exists=True,
    )
    return Study(study, claims_of(study._study_id), **how)


def _reason_of(trial: FrozenTrial) -> str:
    return trial.user_attrs.get(REASON, "unknown")


def _here() -> dict[str, str]:
    return {"host": socket.gethostname(), "root": str(Path.cwd())}


def _mixed(seed: int, number: int) -> int:
    """A seed for one trial: drawn from both numbers, so that a sweep that goes on draws the same.

    32 bits, which every sampler takes.
    """
    digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "little")
