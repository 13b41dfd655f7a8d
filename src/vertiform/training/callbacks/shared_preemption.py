"""Ends a run of many processes on SIGTERM, all of them after the same step."""

from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer

from vertiform.training.callbacks.preemption import Preemption


class SharedPreemption(Preemption):
    """Lets a run of many processes save and end together when some of them are sent SIGTERM.

    They get the signal between different steps, and must stop after the same one. Lightning has the
    first process tell the others before each batch, and waits for it on the device: a GPU stalls at
    each step, and a signal that only another process got is missed. Here each says after a step
    whether it was asked to end, over gloo, and hears the others one step later, when what they said
    has long arrived.
    """

    def __init__(self) -> None:
        super().__init__()
        self._was_signalled = False
        self._last_step = 0
        self._said: tuple[torch.Tensor, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signal over, and keep Lightning from asking."""
        super().on_train_start(trainer, pl_module)
        self._last_step = trainer.global_step
        loop = trainer.fit_loop.epoch_loop
        assert hasattr(loop, "_broadcast_sigterm_tensor"), "Lightning asks in another way now"
        loop._broadcast_sigterm_tensor = _do_nothing

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After a step, hear of the one before and speak of this one."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        self._hear()
        said = torch.tensor([int(self._was_signalled)])
        self._said = said, dist.all_reduce(said, dist.ReduceOp.MAX, async_op=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear the last of it, so that nothing is under way when the processes part."""
        self._hear()

    def _hear(self) -> None:
        if self._said is not None:
            said, under_way = self._said
            under_way.wait()
            self.is_asked = bool(said.item())
            self._said = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._was_signalled = True


def _do_nothing() -> None:
    pass
