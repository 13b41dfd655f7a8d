"""Writes the checkpoints of a run whose weights are spread over many processes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from vertiform.training.checkpoint_writer import CheckpointWriter
from vertiform.training.checkpoints import RunCheckpoints, nothing_first
from vertiform.training.distributed import is_first_rank
from vertiform.training.metrics import MetricSink
from vertiform.training.sharded import Copy, copy_of, read_sharded, write_sharded


class ShardedWriter(CheckpointWriter):
    """Does what a CheckpointWriter does, together with those of the other processes.

    Each copies its own rows and writes them on a thread of its own. These threads speak to each
    other in a group of their own, or they would take the turns of the training threads.
    """

    def __init__(self, run: RunCheckpoints, *, sink: MetricSink) -> None:
        super().__init__(run, sink=sink)
        self._group = dist.new_group(backend="gloo")

    def best_weights(self, step: int) -> Mapping[str, Tensor] | None:
        """Return the best weights, whole, to the first process: read from all processes' files."""
        if self._best_step == step:
            self.wait()
            self._write_best()
        if not is_first_rank():
            return None
        return read_sharded(self._run.best_at_step(step), mesh=None)["weights"]

    def _copy(self, state: Mapping[str, Any], *, into: Copy | None) -> Copy:
        return copy_of(state, into=into)

    def _put(
        self, path: Path, copy: Copy, *, before_manifest: Callable[[], None] = nothing_first
    ) -> None:
        write_sharded(path, copy, group=self._group, before_manifest=before_manifest)

    def _prune(self) -> None:
        if is_first_rank():
            super()._prune()
