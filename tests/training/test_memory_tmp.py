"""Where memory runs out, a run goes on from its checkpoint in smaller parts."""

import re
import resource
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.kills import FORK
from tests.training.tiny import CPU, MODEL, PACKED, pretrain_tiny, trainer_with
from vertiform.errors import TrainingError
from vertiform.training.budget import Budget
from vertiform.training.memory import is_out_of_memory, with_less_memory
from vertiform.training.metrics import MemorySink

WINDOWS = 256
SECONDS = 120  # on a busy machine; a training takes three
# In parts its steps take some 135, 75, 41 and 28 MB.
WIDE: dict[str, Any] = {
    "model": replace(MODEL, width=64, depth=2, feed_forward_width=1024),
    "batches": replace(PACKED, windows_per_batch=WINDOWS),
    "budget": Budget(total_steps=6, validate_every_steps=6),
}
TOO_MUCH = 1 << 50  # bytes


class TakesMemory(MemorySink):
    """Takes so many MB for good after step 5, as another part of a program might."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        self._left = iter([megabytes])
        self.taken: list[torch.Tensor] = []

    def log_points(self, points, *, step):
        super().log_points(points, step=step)
        if step == 5:
            for _ in range(next(self._left, 0)):
                self.taken.append(torch.empty(1 << 20, dtype=torch.uint8))


class Outcome(NamedTuple):
    """What a limited process came to; its memory is that of the process, in MB."""

    tried: list[int]
    resumed_from: int | None
    validated_at: list[int]
    grown_megabytes: int


def megabytes(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{what}:\s+(\d+)", status)[0]) // 1024


def _trained(pipe: Connection, folder: Path, name: str, limit: int | None, taken: int) -> None:
    torch.set_num_threads(1)
    # Refused memory once for the code of a kernel, oneDNN refuses that thread for ever.
    torch.backends.mkldnn.set_flags(_enabled=False)
    before, tried, sink = megabytes("VmSize"), [1], TakesMemory(taken)
    if limit is not None:
        most = (before + limit) << 20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    result = with_less_memory(
        lambda trainer: pretrain_tiny(folder, name, trainer=trainer, sink=sink, **WIDE),
        CPU,
        largest_accumulation=WINDOWS,
        on_retry=lambda trainer: tried.append(trainer.accumulation),
    )
    validated = list(sink.of("val/loss_nats"))
    grown = megabytes("VmPeak") - before
    pipe.send(Outcome(tried, result.fit.resumed_from_step, validated, grown))


def trained(folder: Path, name: str, *, limit: int | None, taken: int = 0) -> Outcome:
    """Train in a process that may grow by `limit` MB."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_trained, args=(theirs, folder, name, limit, taken), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(SECONDS), "it says nothing"
    outcome = ours.recv()
    process.join(SECONDS)
    print(name, outcome)
    assert process.exitcode == 0
    return outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    pretrain_tiny(folder, "warm")  # what is loaded and reserved now is no growth of the others
    return folder


@pytest.fixture(scope="module")
def unlimited(folder) -> Outcome:
    return trained(folder, "unlimited", limit=None)


needs_limits = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux, whose limits hold"
)


@pytest.mark.slow
@needs_limits
def test_a_run_that_does_not_fit_is_trained_in_smaller_parts(folder, unlimited):
    limited = trained(folder, "limited", limit=round(0.6 * unlimited.grown_megabytes))
    assert unlimited.tried == [1]
    assert limited.tried[:2] == [1, 2]
    assert limited.validated_at == unlimited.validated_at == [6]
    assert (folder / "limited" / "model.safetensors").exists()


@pytest.mark.slow
@needs_limits
def test_a_run_that_runs_out_of_memory_midway_goes_on_from_its_checkpoint(folder, unlimited):
    whole = unlimited.grown_megabytes
    limited = trained(folder, "midway", limit=round(1.2 * whole), taken=round(0.45 * whole))
    assert limited.tried[:2] == [1, 2]
    assert limited.resumed_from == 4
    assert limited.validated_at == [6]


def _never(trainer: Any) -> None:
    raise AssertionError("nothing is to be tried again")


def _takes_too_much(trainer: Any) -> None:
    torch.empty(TOO_MUCH)


def test_parts_are_halved_to_single_examples_and_then_it_is_an_error_with_a_fix():
    tried: list[int] = []
    with pytest.raises(
        TrainingError,
        match=r"trainer.accumulation=12, .*12 examples.*DefaultCPUAllocator.*\n.*smaller network",
    ):
        with_less_memory(
            _takes_too_much,
            CPU,
            largest_accumulation=12,
            on_retry=lambda trainer: tried.append(trainer.accumulation),
        )
    assert tried == [2, 4, 12]  # a step's batch is cut evenly


def test_any_other_error_is_raised_as_it_came():
    def breaks(trainer: Any) -> None:
        raise TrainingError("The loss became nan.", fix="lower optimizer.lr.")

    with pytest.raises(TrainingError, match="became nan"):
        with_less_memory(breaks, CPU, largest_accumulation=4, on_retry=_never)


def test_one_of_many_processes_does_not_begin_again_alone():
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        with_less_memory(
            _takes_too_much,
            trainer_with(strategy="ddp"),
            largest_accumulation=4,
            on_retry=_never,
        )


class Greedy(torch.utils.data.Dataset):
    """Asks for too much in a loader's process."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.empty(TOO_MUCH)


def _lacks_on_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.empty(TOO_MUCH),
        lambda: np.empty(TOO_MUCH),
        lambda: bytearray(TOO_MUCH),
        lambda: next(iter(DataLoader(Greedy(), num_workers=1))),
        _lacks_on_gpu,
    ],
    ids=["torch", "numpy", "python", "a loader's process", "a GPU, as PyTorch says it"],
)
def test_a_lack_of_memory_is_known_for_one(work):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        work()
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("could not create a primitive"),
        TrainingError("The loss became nan.", fix="lower optimizer.lr."),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: f"{type(error).__name__}: {error}".splitlines()[0],
)
def test_nothing_else_is_taken_for_a_lack_of_memory(error):
    assert not is_out_of_memory(error)
