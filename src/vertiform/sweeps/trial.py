"""A trial that this process runs."""

import warnings
from typing import Any

import optuna

from vertiform.sweeps.dimensions import Value

TAKEN = "taken"  # user attribute: how often it was taken up since its last validation


class Trial:
    """Its number, its values by the keys of the space's dimensions, and what it tells the study."""

    def __init__(self, trial: optuna.Trial, *, values: dict[str, Value]) -> None:
        self._trial = trial
        self.values = values

    @property
    def id(self) -> int:
        """Its id in the storage."""
        return self._trial._trial_id

    @property
    def number(self) -> int:
        """Its number in the study, from 0."""
        return self._trial.number

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted beside it, by this worker and those before it."""
        return self._trial.user_attrs

    def note(self, key: str, value: Any) -> None:
        """Keep a fact beside the trial; plain JSON."""
        self._trial.set_user_attr(key, value)

    def note_taken(self) -> None:
        """Count a worker that takes it up: a trial that kills its workers is given up one day."""
        self.note(TAKEN, self.notes.get(TAKEN, 0) + 1)

    def note_given_back(self) -> None:
        """Count its worker no more, since it did not die."""
        self.note(TAKEN, self.notes.get(TAKEN, 1) - 1)

    def report(self, value: float, *, step: int) -> bool:
        """Tell the value at a step of training; True if the trial should go no further.

        A trial that was taken up again may tell a step that it told before: the first counts.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self._trial.report(value, step)
        if self.notes.get(TAKEN) != 1:
            self.note(TAKEN, 1)  # it got further than the workers that died
        return self._trial.should_prune()
