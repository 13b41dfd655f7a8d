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
from tests.training.tiny import CPU, MLM, PACKED, pretrain_tiny, trainer_with
from vertiform.errors import TrainingError
from vertiform.training.budget import Budget
from vertiform.training.memory import is_out_of_memory, with_less_memory
from vertiform.training.metrics import MemorySink
from vertiform.training.objectives.losses import Losses
from vertiform.training.objectives.mlm import MaskedBatch, MaskedLm

WINDOWS = 64
SECONDS = 120  # on a busy machine; a training takes two
# What a limited process may grow by. Some 25 MB are the run's own. What is refused below is far too
# much, so that it is never the last few bytes, for want of which a library just ends the process.
LIMIT_MEGABYTES = 240
TOO_MUCH = 1 << 50  # bytes


class Hungry(MaskedLm):
    """Masked language modelling that takes some memory for each window while it trains."""

    def __init__(self, *, megabytes_per_window: int) -> None:
        super().__init__(**vars(MLM))
        object.__setattr__(self, "bytes_per_window", megabytes_per_window << 20)

    def losses(self, network, batch: MaskedBatch) -> Losses:
        windows = len(batch.input_ids) if network.training else 0
        scratch = torch.empty(windows * self.bytes_per_window, dtype=torch.uint8)
        losses = MLM.losses(network, batch)
        del scratch
        return losses


class AsksOnce(MemorySink):
    """Asks once for some memory after step 5, as another part of a program might."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        self._left = iter([megabytes])

    def log_points(self, points, *, step):
        super().log_points(points, step=step)
        if step == 5:
            torch.empty(next(self._left, 0) << 20, dtype=torch.uint8)


class Outcome(NamedTuple):
    """What a limited process came to."""

    tried: list[int]
    resumed_from: int | None
    validated_at: list[int]


def _trained(pipe: Connection, folder: Path, name: str, objective: Hungry, asked: int) -> None:
    torch.set_num_threads(1)
    # Refused memory once for the code of a kernel, oneDNN refuses that thread for ever.
    torch.backends.mkldnn.set_flags(_enabled=False)
    status = Path("/proc/self/status").read_text()
    now = int(re.findall(r"VmSize:\s+(\d+) kB", status)[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (now + (LIMIT_MEGABYTES << 20),) * 2)
    tried, sink = [1], AsksOnce(asked)
    result = with_less_memory(
        lambda trainer: pretrain_tiny(
            folder,
            name,
            objective=objective,
            batches=replace(PACKED, windows_per_batch=WINDOWS),
            budget=Budget(total_steps=8, validate_every_steps=8),
            trainer=trainer,
            sink=sink,
        ),
        CPU,
        largest_accumulation=WINDOWS,
        on_retry=lambda trainer: tried.append(trainer.accumulation),
    )
    pipe.send(Outcome(tried, result.fit.resumed_from_step, list(sink.of("val/loss_nats"))))


def trained(folder: Path, name: str, *, megabytes_per_window: int, asked: int = 0) -> Outcome:
    """Train in a process of limited memory."""
    ours, theirs = FORK.Pipe(duplex=False)
    objective = Hungry(megabytes_per_window=megabytes_per_window)
    process = FORK.Process(
        target=_trained, args=(theirs, folder, name, objective, asked), daemon=True
    )
    process.start()
    theirs.close()
    assert ours.poll(SECONDS), "it says nothing"
    outcome = ours.recv()
    process.join(SECONDS)
    assert process.exitcode == 0
    return outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    pretrain_tiny(folder, "warm")  # what is loaded and reserved now is no growth of the others
    return folder


needs_limits = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux, whose limits hold"
)


@needs_limits
def test_a_run_that_does_not_fit_is_trained_in_smaller_parts(folder):
    limited = trained(folder, "limited", megabytes_per_window=8)  # 512 MB a step
    assert limited.tried[:3] == [1, 2, 4]  # then it depends on how the memory is cut up
    assert limited.validated_at == [8]
    assert (folder / "limited" / "model.safetensors").exists()


@needs_limits
def test_a_run_that_runs_out_of_memory_midway_goes_on_from_its_checkpoint(folder):
    limited = trained(folder, "midway", megabytes_per_window=0, asked=1024)
    assert limited == Outcome(tried=[1, 2], resumed_from=4, validated_at=[8])


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
