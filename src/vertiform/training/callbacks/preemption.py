"""Ends a run on SIGTERM as soon as the step under way is done and saved."""

import signal
import threading
from types import FrameType

from lightning.pytorch import Callback, LightningModule, Trainer


class Preempted(BaseException):
    """The run ends here because it was asked to; not an Exception, so that nobody handles it."""


class Preemption(Callback):
    """Takes SIGTERM over from Lightning for as long as training lasts.

    Lightning's own handling ends a run between two parts of one step, calls the handler that was
    there before (which may exit at once, unsaved), and with many processes asks all of them in
    every batch. Keeper saves and ends the run at the end of a step instead.
    """

    def __init__(self) -> None:
        self.is_asked = False  # to end

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over. Lightning puts the former handler back when it ends, whatever the reason."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Say whether the optimiser stepped after batch `batch_idx`, the last part of its step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0
