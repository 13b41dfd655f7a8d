"""How and where a run trains: what changes its speed and its place, never its result."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vertiform.errors import ConfigError, did_you_mean
from vertiform.training.distributed import place

ACCELERATORS = ("cpu", "gpu", "auto")
PRECISIONS = ("auto", "32-true", "bf16-mixed")
COMPILES = ("auto", "on", "off")
STRATEGIES = ("one", "ddp", "fsdp")

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


@dataclass(frozen=True, kw_only=True)
class TrainerParams:
    """One file of conf/trainer/.

    accelerator:            "cpu", "gpu" or "auto".
    strategy:               "one" process, or those that a launcher started (docs/cluster.md): each
                            with a copy of the network ("ddp") or a share of its rows ("fsdp").
    precision:              "32-true", "bf16-mixed", or "auto": what pays on the device.
    compile:                torch.compile of the network: "on", "off", or "auto": where it pays.
    accumulation:           parts a step's batch is read in, one after the other, when it does not
                            fit the memory at once; what a step reads stays the same. Its loss does
                            in fine-tuning; in pretraining it is the mean of the parts' means, a
                            little off that of the whole where they predict different numbers of
                            tokens, since a part does not know the others'.
    threads:                CPU threads for one operation; 0 takes every core this process may use.
                            The last bits of a result depend on it (sums are split otherwise).
    loader_workers:         processes that prepare batches ahead; 0 prepares them in this one.
    checkpoint_every_steps: steps between two checkpoints to go on from.
    keeps_last_checkpoints: how many of them are kept, so that a damaged one has one before it.
    log_every_steps:        steps between two points of a training metric.
    system_every_seconds:   at least so long between two points of what the machine does.
    country_iso_code:       where it stands, three letters (ISO 3166-1), for what its electricity
                            emits; None takes the world's mean.
    """

    accelerator: str
    strategy: str
    precision: str
    compile: str
    accumulation: int
    threads: int
    loader_workers: int
    checkpoint_every_steps: int
    keeps_last_checkpoints: int
    log_every_steps: int
    system_every_seconds: float
    country_iso_code: str | None

    def __post_init__(self) -> None:
        choices = {
            "accelerator": ACCELERATORS,
            "strategy": STRATEGIES,
            "precision": PRECISIONS,
            "compile": COMPILES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"trainer.{name} is `{getattr(self, name)}`, which does not exist.",
                    fix=did_you_mean(str(getattr(self, name)), known),
                )
        for name in (
            "accumulation",
            "checkpoint_every_steps",
            "keeps_last_checkpoints",
            "log_every_steps",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"trainer.{name} is {getattr(self, name)}, which is less than 1.",
                    fix=f"set trainer.{name} to 1 or more.",
                )
        if self.system_every_seconds <= 0:
            raise ConfigError(
                f"trainer.system_every_seconds is {self.system_every_seconds}, which is no time.",
                fix="set it above 0; 10 is usual, and a reading takes 0.3 ms.",
            )

    @property
    def parts_per_step(self) -> int:
        """How many parts a step's batch is cut into: one for each pass of each process."""
        return self.accumulation * place().ranks


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory in the process inside the block, where the allocator is glibc's.

    glibc hands large blocks back to the kernel as soon as they are freed; a step then faults the
    same pages in again, 48,000 of them for 8,192 tokens and a 2 x 128 encoder. With memory kept
    they are 3,000, and the step takes 420 ms of CPU instead of 500.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another libc
        yield
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(_M_MMAP_MAX, 65_536)  # glibc's own values
        mallopt(_M_TRIM_THRESHOLD, 128 * 1024)


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch use `threads` CPU threads inside the block; 0 means every core allowed to us."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
