"""Asks a judge after each validation, and ends the run in all its processes if it says so."""

from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.keeper import validation_metrics
from vertiform.training.distributed import from_first
from vertiform.training.pruning import Judge, Pruned


class Judging(Callback):
    """Stands after those that log and before Keeper, so a step that is pruned is not saved.

    A run that is killed after its judge has answered, but before the checkpoint, validates again
    and asks again.

    judge: None in all processes but the first, which asks for all.
    """

    def __init__(
        self, judge: Judge | None, *, health: Health, monitor: str, total_steps: int
    ) -> None:
        self._judge = judge
        self._health = health
        self._monitor = monitor
        self._total_steps = total_steps

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask; raise Pruned unless the run is worth going on with, or is done."""
        step = trainer.global_step
        self._health.check(step=step)  # what is broken is an error, and no bad result
        metrics = validation_metrics(trainer, monitor=self._monitor)
        is_pruned = from_first(lambda: self._answer(metrics, step=step))
        if is_pruned and step < self._total_steps:
            raise Pruned(step)

    def _answer(self, metrics: dict[str, float], *, step: int) -> bool:
        assert self._judge is not None, "the first process has a judge, or none asks"
        return bool(self._judge.should_prune(metrics, step=step))
