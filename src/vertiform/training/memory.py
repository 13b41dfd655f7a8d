"""Trains again in smaller parts when the memory does not hold a step's batch at once."""

import ctypes
import errno
import gc
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import torch

from vertiform.errors import TrainingError
from vertiform.training.trainer import TrainerParams

# What a plain RuntimeError for want of host memory says: PyTorch's allocator, and, in the system's
# words, safetensors. Not oneDNN's "could not create a primitive": it says so of what it cannot
# compute as well, and a thread that it once refused for want of memory it refuses for ever.
_HOST_WORDS = ("DefaultCPUAllocator: ", os.strerror(errno.ENOMEM))

logger = logging.getLogger(__name__)

T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether `error` is a lack of memory, of a GPU or of this machine, and nothing else."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _HOST_WORDS)


def with_less_memory(
    train: Callable[[TrainerParams], T],
    trainer: TrainerParams,
    *,
    largest_accumulation: int,
    on_retry: Callable[[TrainerParams], None],
) -> T:
    """Return train(trainer); where memory runs out, train again with twice the accumulation.

    train:                trains in this process, and goes on from its checkpoint when it is called
                          again. A step reads the same, in parts of half the size
                          (TrainerParams.accumulation says what of a result depends on it).
    largest_accumulation: the examples or windows of a step: more parts would be empty ones.
    on_retry:             called with what is tried next, before it is.

    Raises TrainingError when parts of one example do not fit either. One of many processes cannot
    begin again alone: there the error is raised as it came.

    A system that promises more memory than it has (Linux does, by default) kills a process with
    SIGKILL instead of refusing it host memory; nothing in that process can learn of it.
    """
    while True:
        try:
            return train(trainer)
        except Exception as error:
            if trainer.strategy != "one" or not is_out_of_memory(error):
                raise
            problem = (str(error) or type(error).__name__).splitlines()[0]
        # Here, where the error is gone, and the frames with it that held the tensors.
        trainer = _in_smaller_parts(trainer, largest_accumulation, problem=problem)
        _free()
        logger.warning(
            "Memory ran out (%s); going on with trainer.accumulation=%d.",
            *(problem, trainer.accumulation),
        )
        on_retry(trainer)


def _in_smaller_parts(
    trainer: TrainerParams, largest_accumulation: int, *, problem: str
) -> TrainerParams:
    """Take twice the parts, or the next number that divides a step's batch evenly."""
    for accumulation in range(2 * trainer.accumulation, largest_accumulation + 1):
        if largest_accumulation % accumulation == 0:
            return replace(trainer, accumulation=accumulation)
    raise TrainingError(
        f"The memory does not hold one part of a step with trainer.accumulation="
        f"{trainer.accumulation}, and a step's {largest_accumulation} examples cannot be cut "
        f"smaller: {problem}",
        fix="choose a smaller network (model), shorter texts (batches.window_tokens of a "
        "pretraining, task.max_tokens of a task), or run fewer workers at once.",
    )


def _free() -> None:
    """Give back what the failed attempt held."""
    gc.collect()  # Lightning's objects hold each other in circles
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with suppress(AttributeError, OSError, TypeError):  # another libc than glibc
        # What memory_kept kept is ours, but not for what asks the system itself, as reading a
        # checkpoint does.
        ctypes.CDLL(None).malloc_trim(0)
