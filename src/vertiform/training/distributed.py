"""Many processes of one run: who each of them is, how they meet, and what only the first may do.

A launcher starts them all (torchrun, or SLURM's srun) and gives each its place in the environment.
Nothing here starts a process.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from vertiform.errors import ConfigError, StorageError, VertiformError

# What torchrun sets, and other launchers that follow it; srun's own are put into these.
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process stands among those of its run. Numbers start at 0.

    rank, ranks:             its number, and how many there are on all machines.
    local_rank, local_ranks: the same among those of its machine.
    """

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int

    @property
    def machines(self) -> int:
        """How many machines there are; each has as many processes as the others."""
        return self.ranks // self.local_ranks


ALONE = Place(rank=0, ranks=1, local_rank=0, local_ranks=1)


def place() -> Place:
    """Where the launcher put this process; ALONE without a launcher. Needs no joined()."""
    found = _launched()
    return found if found is not None else ALONE


def is_first_rank() -> bool:
    """Whether this process is the one that writes: models, receipts, MLflow, progress lines."""
    return place().rank == 0


def _launched() -> Place | None:
    """The place that a launcher gave, or None if nobody did."""
    given = os.environ
    if all(name in given for name in PLACE):
        rank, ranks, local_rank, local_ranks = (int(given[name]) for name in PLACE)
    elif "SLURM_STEP_NUM_TASKS" in given:  # inside srun; a batch script alone does not have it
        rank, local_rank = int(given["SLURM_PROCID"]), int(given["SLURM_LOCALID"])
        ranks = int(given["SLURM_STEP_NUM_TASKS"])
        local_ranks = max(1, ranks // int(given["SLURM_STEP_NUM_NODES"]))
    else:
        return None
    return Place(rank=rank, ranks=ranks, local_rank=local_rank, local_ranks=local_ranks)


def check_strategy(strategy: str, *, accelerator: str) -> None:
    """Raise ConfigError unless the processes that were started are those the strategy is for."""
    found = _launched()
    if strategy == "one":
        if found is not None and found.ranks > 1:
            raise ConfigError(
                f"{found.ranks} processes were started, but trainer.strategy is one: each would "
                "train and write the same run.",
                fix="add trainer=ddp or trainer=fsdp to the command, or start one process.",
            )
        return
    if found is None:
        raise ConfigError(
            f"trainer.strategy is {strategy}, but no launcher started this process.",
            fix="start it by torchrun: torchrun --nproc-per-node 2 -m vertiform.cli.main pretrain "
            f"domain=... trainer={strategy} (docs/cluster.md has more, and SLURM).",
        )
    if found.ranks != found.machines * found.local_ranks:
        raise ConfigError(
            f"{found.ranks} processes do not come to the same number on each machine.",
            fix="start as many on every machine (SLURM: --ntasks-per-node).",
        )
    if accelerator == "gpu" and found.local_ranks > torch.cuda.device_count():
        raise ConfigError(
            f"{found.local_ranks} processes were started on a machine where PyTorch sees "
            f"{torch.cuda.device_count()} GPUs; each needs its own.",
            fix="start as many as there are GPUs, and let each see them all (SLURM: --gpus-per-node"
            ", not --gpus-per-task), or say trainer.accelerator=cpu.",
        )


@contextmanager
def joined(strategy: str, *, accelerator: str) -> Iterator[Place]:
    """Meet the other processes of the run; inside another such block, do nothing.

    CPU tensors are exchanged by gloo, CUDA tensors by NCCL.
    Raises ConfigError if the launcher and the strategy do not go together.
    """
    check_strategy(strategy, accelerator=accelerator)
    if strategy == "one" or dist.is_initialized():
        yield place()
        return
    found = place()
    _set_addresses(os.environ, found)
    on_gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
    if on_gpu:
        torch.cuda.set_device(found.local_rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", rank=found.rank, world_size=found.ranks
    )
    ours = logging.getLogger("vertiform")
    level = ours.level
    if found.rank > 0:
        ours.setLevel(logging.WARNING)  # what goes well, the first process says for all
    try:
        yield found
    finally:
        ours.setLevel(level)
        dist.destroy_process_group()


def _set_addresses(environment: MutableMapping[str, str], found: Place) -> None:
    """Put srun's words into torchrun's, so that everything after reads one kind."""
    environment.update(
        zip(
            PLACE,
            map(str, (found.rank, found.ranks, found.local_rank, found.local_ranks)),
            strict=True,
        )
    )
    environment.setdefault("GROUP_RANK", str(found.rank // found.local_ranks))
    if "SLURM_STEP_NODELIST" in environment:
        from lightning.fabric.plugins.environments import SLURMEnvironment

        first = SLURMEnvironment.resolve_root_node_address(environment["SLURM_STEP_NODELIST"])
        environment.setdefault("MASTER_ADDR", first)
        # The same on every machine, and seldom that of another job on this one.
        environment.setdefault(
            "MASTER_PORT", str(15_000 + int(environment["SLURM_JOB_ID"]) % 10_000)
        )
    environment.setdefault("MASTER_ADDR", "127.0.0.1")
    environment.setdefault("MASTER_PORT", "29500")


def barrier() -> None:
    """Wait until every process of the run is here. Nothing for one that is alone."""
    if dist.is_initialized():
        dist.barrier()


def from_first(make: Callable[[], T], *, group: Any = None) -> T:
    """Call `make` in the first process only, and give every process what it returned."""
    if not dist.is_initialized():
        return make()
    box: list[Any] = [None]
    with failing_together(group=group):
        if is_first_rank():
            box[0] = make()
    dist.broadcast_object_list(box, src=0, group=group)
    return box[0]


def gathered(value: T, *, group: Any = None) -> list[T]:
    """Return what every process gave as `value`, by rank.

    group: torch's, for a thread that must not take the turn of another; None is that of all.
    """
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, group=group)
    return values


def sum_of_all(points: Mapping[str, float]) -> dict[str, float]:
    """Return the sum over the processes of each value; all give the same names."""
    if not (dist.is_initialized() and points):
        return dict(points)
    values = torch.tensor(list(points.values()), dtype=torch.float64)
    dist.all_reduce(values)
    return dict(zip(points, values.tolist(), strict=True))


def mean_of_all(points: Mapping[str, float]) -> dict[str, float]:
    """Return the mean over the processes of each value; all give the same names."""
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    return {name: value / ranks for name, value in sum_of_all(points).items()}


@contextmanager
def failing_together(*, group: Any = None) -> Iterator[None]:
    """Leave the block when every process has, and raise in all of them if it raised in one.

    Without it, one process ends on a full disk while the others wait for it until a timeout.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    told = gathered(None if own is None else _in_words(own), group=group)
    if own is not None:
        raise own
    for rank, problem in enumerate(told):
        if problem is not None:
            raise StorageError(f"Process {rank}: {problem[0]}", fix=problem[1])


def _in_words(error: Exception) -> tuple[str, str]:
    if isinstance(error, VertiformError):
        return error.problem, error.fix
    return f"{type(error).__name__}: {error}", "see what that process wrote; then run it again."


def check_same(value: str, *, what: str) -> None:
    """Raise ConfigError unless every process has the same `value`."""
    values = sorted(set(gathered(value)))
    if len(values) > 1:
        raise ConfigError(
            f"The processes of this run differ in their {what}: {', '.join(values)}.",
            fix="give every machine the same files and the same command.",
        )
