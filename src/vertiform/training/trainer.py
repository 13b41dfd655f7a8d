"""How and where a run trains: what changes its speed and its place, never its result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vertiform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainerParams:
    """One file of conf/trainer/.

    accelerator:            "cpu", "gpu", or "auto" (Lightning's words).
    precision:              Lightning's words: "32-true", "bf16-mixed".
    threads:                CPU threads for one operation; 0 takes every core this process may use.
                            The last bits of a result depend on it (sums are split otherwise).
    loader_workers:         processes that prepare batches ahead; 0 prepares them in this one.
    checkpoint_every_steps: steps between two checkpoints to go on from.
    keeps_last_checkpoints: how many of them are kept, so that a damaged one has one before it.
    log_every_steps:        steps between two points of a training metric.
    """

    accelerator: str
    precision: str
    threads: int
    loader_workers: int
    checkpoint_every_steps: int
    keeps_last_checkpoints: int
    log_every_steps: int

    def __post_init__(self) -> None:
        for name in ("checkpoint_every_steps", "keeps_last_checkpoints", "log_every_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"trainer.{name} is {getattr(self, name)}, which is less than 1.",
                    fix=f"set trainer.{name} to 1 or more.",
                )


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch use `threads` CPU threads inside the block; 0 means every core allowed to us."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
