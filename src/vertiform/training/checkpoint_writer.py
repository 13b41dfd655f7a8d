"""Writes a run's checkpoints on a thread of its own, so that a step waits for a copy at most.

A step that saves copies its state to host memory; hashing, writing, syncing and renaming are done
while training goes on. There is one copy: the next save waits until the last one is written.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from vertiform.errors import StorageError
from vertiform.training.checkpoints import (
    RunCheckpoints,
    nothing_first,
    snapshot_of,
    state_of,
    write_snapshot,
)
from vertiform.training.metrics import MetricSink
from vertiform.training.sharded import read_sharded

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Keeps the best weights in memory, and on disk what a killed run goes on from.

    The best weights are on disk before any checkpoint that needs them. What cannot be written (a
    full disk) is said once; the run goes on, and its last good checkpoint stays.
    A checkpoint counts once `sink` has on the disk what was logged before it: the steps after it
    alone are repeated, so what a machine without power loses of those before is lost for good.
    What is a method with an underscore and no more than a call, many processes do together
    (training/sharded_writer.py).
    """

    def __init__(self, run: RunCheckpoints, *, sink: MetricSink) -> None:
        self._run = run
        self._sink = sink
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._under_way: Future[None] | None = None
        self._state: Any = None  # what _copy returned
        self._best: Any = None
        self._best_step: int | None = None
        self._is_best_written = True
        self._is_failing = False
        self.saved_step: int | None = None  # of the last checkpoint that is on disk, whole

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def keep_best(self, weights: Mapping[str, Tensor], *, step: int) -> None:
        """Copy the weights after `step` steps, the best so far; they are written with `save`."""
        self.wait()
        self._best = self._copy({"weights": weights}, into=self._best)
        self._best_step, self._is_best_written = step, False

    def best_weights(self, step: int) -> Mapping[str, Tensor] | None:
        """Return the best weights, which are those after `step` steps; None if this process is not
        the one of many that gets them.
        """
        if self._best is not None and self._best_step == step:
            return state_of(self._best)["weights"]
        return read_sharded(self._run.best_at_step(step), mesh=None)["weights"]

    def save(self, state: Mapping[str, Any], *, step: int) -> None:
        """Copy the state after `step` steps; it is on disk once the next call or `wait` returns."""
        self.wait()
        self._state = self._copy(state, into=self._state)
        self._under_way = self._thread.submit(self._write, self._state, step)

    def wait(self) -> None:
        """Return once all that was to be saved is on disk, or was found not to fit."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def _copy(self, state: Mapping[str, Any], *, into: Any) -> Any:
        return snapshot_of(state, into=into.tensors if into else None)

    def _put(
        self, path: Path, copy: Any, *, before_manifest: Callable[[], None] = nothing_first
    ) -> None:
        write_snapshot(path, copy, before_manifest=before_manifest)

    def _prune(self) -> None:
        self._run.prune()

    def _write_best(self) -> None:
        if self._best is not None and not self._is_best_written:
            assert self._best_step is not None
            self._put(self._run.best_at_step(self._best_step), self._best)
            self._is_best_written = True

    def _write(self, state: Any, step: int) -> None:
        try:
            self._write_best()
            self._put(self._run.at_step(step), state, before_manifest=self._sink.sync)
            self._prune()
        except (StorageError, OSError) as error:
            if not self._is_failing:
                logger.warning(
                    "The checkpoint of step %d is not saved, training goes on without: %s",
                    *(step, error),
                )
            self._is_failing = True
        else:
            if self._is_failing:
                logger.info("The checkpoint of step %d is saved, as those before were not.", step)
            self._is_failing = False
            self.saved_step = step


class SafetensorsIO(CheckpointIO):
    """Makes Lightning write and read its checkpoints in our format, never by pickle."""

    def __init__(self, writer: CheckpointWriter) -> None:
        self._writer = writer

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Hand Lightning's checkpoint to the writer."""
        self._writer.save(checkpoint, step=checkpoint["global_step"])

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read it. Tensors come to the CPU; Lightning moves them on."""
        return read_sharded(Path(path), mesh=None)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove it."""
        shutil.rmtree(path)
