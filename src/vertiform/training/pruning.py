"""Who ends a run early because it is not worth its steps, and how its caller learns of it."""

from collections.abc import Mapping
from typing import Protocol


class Judge(Protocol):
    """Says after each validation whether a run is worth going on with: a sweep that knows others.

    Only the first process of a run has to have one; it alone is asked, and all do as it says.
    """

    def should_prune(self, metrics: Mapping[str, float], *, step: int) -> bool:
        """Take note of what a validation found after `step` steps of the optimiser, and answer.

        metrics: those of validation, by the names of evaluation.names, without `train/`.

        Called after the last step, too; nothing is left to spare then, and the answer does not
        count. A run that goes on after a kill may tell of a step again, with the same numbers.
        What it raises ends the run as an error.
        """
        ...


class Pruned(BaseException):
    """The run ended after `step` steps because its judge said so, and leaves no model.

    What it logged stays logged. Not an Exception, for the reason that Preempted is none: nobody
    on the way is to handle it as a failure.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"pruned after step {step}")
        self.step = step
