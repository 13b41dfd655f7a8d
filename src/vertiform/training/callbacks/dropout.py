"""Makes dropout a function of (seed, part), so that going on after a kill needs no RNG state."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.batches.randomness import Purpose, torch_seed


class CountedDropout(Callback):
    """Reseeds torch before every training batch, by the number of the part of the run it is."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Reseed. `batch_idx` counts on after a kill: it is this process's pass of the run."""
        part = batch_idx * trainer.world_size + trainer.global_rank
        seed = torch_seed(self._seed, Purpose.DROPOUT, part)
        # Not torch.manual_seed: for each device it has not started it keeps the call and a stack
        # trace to replay later, which took 1 ms a step here and is never freed.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
