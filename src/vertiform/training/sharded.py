"""Checkpoints of a network whose rows lie on many processes: each writes its part.

Such a checkpoint is a folder like any other (training/checkpoints.py). What every process has
whole, such as the step, the first one writes. Each writes beside it shard-<rank>.safetensors, its
rows of each tensor, and shard-<rank>.json, which says what they are of:
{name: {"shape": [rows, ...] of the whole tensor, "rows": [first, end], "dtype": "float32"}}.
When all are written, the first process writes the manifest, with the sha256 of every file. Any
number of processes reads it: each opens the files that have rows it needs, and reads only these.
"""

import os
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from vertiform.errors import TrainingError
from vertiform.files import folder_written_whole, read_json, sha256_of, write_json
from vertiform.training.checkpoints import (
    Snapshot,
    damage_of,
    fill_folder,
    nothing_first,
    save_tensors,
    snapshot_of,
    state_in,
)
from vertiform.training.distributed import failing_together, from_first, gathered, place

SHARDED = "__sharded__"  # in state.json: the name of a tensor that lies in the shards

Span = tuple[int, int]  # first row, and end


def rows_of(rank: int, *, rows: int, ranks: int) -> Span:
    """The rows that process `rank` has of a tensor with `rows`, as FSDP2 and torch.chunk cut it."""
    each = -(-rows // ranks)
    return min(rank * each, rows), min((rank + 1) * each, rows)


class Copy(NamedTuple):
    """A state as it was at one moment, as far as this process has it: in host memory.

    rows:  of each sharded tensor, those of this process; names start with "/".
    facts: what shard-<rank>.json says.
    """

    whole: Snapshot
    rows: Snapshot
    facts: dict[str, dict[str, Any]]


def copy_of(state: Mapping[str, Any], *, into: Copy | None = None) -> Copy:
    """Copy nested dicts, lists and tuples of tensors, some of them sharded, and plain values.

    into: an earlier copy that nobody needs any more; its memory is written over.
    """
    shards: dict[str, DTensor] = {}
    whole = _without_shards(state, name="", shards=shards, seen={})
    return Copy(
        whole=snapshot_of(whole, into=into.whole.tensors if into else None),
        rows=snapshot_of(
            {name: tensor.to_local() for name, tensor in shards.items()},
            into=into.rows.tensors if into else None,
        ),
        facts={name: _facts_of(tensor) for name, tensor in shards.items()},
    )


def write_sharded(
    path: Path,
    copy: Copy,
    *,
    group: Any = None,
    before_manifest: Callable[[], None] = nothing_first,
) -> None:
    """Write a checkpoint of which every process has its part. All of them call this, and wait.

    group: torch's, by which they speak; None is that of all. before_manifest: what has to have
    succeeded, in the first process, for the checkpoint to count.
    Raises StorageError or OSError in every process if one could not; `path` is then untouched.
    """
    rank = place().rank
    with ExitStack() as written:
        aside = from_first(lambda: written.enter_context(folder_written_whole(path)), group=group)
        with failing_together(group=group):
            sums = _write_shard(aside, rank, copy)
        sums_of_all = gathered(sums, group=group)
        with failing_together(group=group):
            if rank == 0:
                sums = dict(ChainMap(*sums_of_all))
                fill_folder(aside, copy.whole, sums=sums, before_manifest=before_manifest)
                written.close()


def read_sharded(path: Path, *, mesh: DeviceMesh | None) -> dict[str, Any]:
    """Read a checkpoint, sharded or not.

    mesh: of the processes that tensors are spread over, by rows; each reads its own, and all call
          this. What was written whole is read whole. None reads everything whole in this process.
    Raises TrainingError if the checkpoint is not what was written.
    """
    damage = damage_of(path) if mesh is None else from_first(lambda: damage_of(path))
    if damage:
        raise TrainingError(
            f"Checkpoint {path} is damaged: {damage}.",
            fix=f"delete {path} and run the same command again; it goes on from an older one.",
        )
    state = state_in(path)
    with ExitStack() as opened:
        shards = Shards.of(path, opened)
        return _filled(state, shards.whole if mesh is None else shards.on(mesh))


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The open shards of a checkpoint: what each file has of each tensor."""

    files: list[Any]  # safetensors' open files
    holds: list[dict[str, dict[str, Any]]]  # of each file: name -> shape, rows, dtype

    @classmethod
    def of(cls, folder: Path, opened: ExitStack) -> "Shards":
        """Open them, for as long as `opened` is. There are none in a checkpoint of one process."""
        facts = sorted(folder.glob("shard-*.json"))
        files = [
            opened.enter_context(safe_open(path.with_suffix(".safetensors"), framework="pt"))
            for path in facts
        ]
        return cls(files=files, holds=[read_json(path) for path in facts])

    def read(self, name: str, span: Span) -> Tensor:
        """Return rows span[0] to span[1] of a tensor, from the files that have some of them."""
        first, end = span
        parts = []
        for file, held in zip(self.files, self.holds, strict=True):
            if name not in held:  # a second name of a tied tensor, which a process without rows has
                continue
            start, stop = held[name]["rows"]
            a, b = max(first, start), min(end, stop)
            if a < b:
                parts.append(file.get_slice(f"/{name}")[a - start : b - start])
        if parts:
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        about = self._about(name)
        return torch.empty((0, *about["shape"][1:]), dtype=getattr(torch, about["dtype"]))

    def whole(self, name: str) -> Tensor:
        """Return all rows."""
        return self.read(name, (0, self._about(name)["shape"][0]))

    def on(self, mesh: DeviceMesh) -> Callable[[str], DTensor]:
        """Return what gives a tensor of which this process reads its rows among those of `mesh`."""

        def read(name: str) -> DTensor:
            shape = torch.Size(self._about(name)["shape"])
            span = rows_of(mesh.get_local_rank(), rows=shape[0], ranks=mesh.size())
            return spread(self.read(name, span), shape=shape, mesh=mesh)

        return read

    def _about(self, name: str) -> dict[str, Any]:
        return next(held[name] for held in self.holds if name in held)


def spread(rows: Tensor, *, shape: torch.Size, mesh: DeviceMesh) -> DTensor:
    """Return the tensor of `shape` of which `rows` are those of this process (rows_of)."""
    return DTensor.from_local(
        rows.to(mesh.device_type),
        mesh,
        [Shard(0)],
        run_check=False,
        shape=shape,
        stride=torch.empty(shape, device="meta").stride(),
    )


def _without_shards(
    value: Any, *, name: str, shards: dict[str, DTensor], seen: dict[tuple[int, ...], str]
) -> Any:
    """Return `value` with its sharded tensors moved to `shards`, and a marker in their place.

    Two names of one tensor (tied embeddings) are stored once. A process without rows of it cannot
    see that they are one, and stores both of nothing; the first process, whose markers are kept,
    has rows of every tensor.
    """
    deeper = {"shards": shards, "seen": seen}
    if isinstance(value, DTensor):
        assert value.placements == (Shard(0),), "only rows are spread over processes"
        own = value.to_local()
        place_in_memory = (own.data_ptr(), *own.shape)
        if own.numel() == 0 or place_in_memory not in seen:
            seen[place_in_memory] = name
            shards[name] = value
        return {SHARDED: seen[place_in_memory] if own.numel() else name}
    if isinstance(value, Mapping):
        return {
            key: _without_shards(item, name=f"{name}/{key}" if name else str(key), **deeper)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [
            _without_shards(item, name=f"{name}/{number}", **deeper)
            for number, item in enumerate(value)
        ]
        return items if isinstance(value, list) else tuple(items)
    return value


def _filled(value: Any, read: Callable[[str], Tensor]) -> Any:
    """Return `value` with each marker replaced by the tensor it names."""
    if isinstance(value, dict):
        if SHARDED in value:
            return read(value[SHARDED])
        return {key: _filled(item, read) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_filled(item, read) for item in value)
    return value


def _facts_of(tensor: DTensor) -> dict[str, Any]:
    rows = rows_of(
        tensor.device_mesh.get_local_rank(),
        rows=tensor.shape[0],
        ranks=tensor.device_mesh.size(),
    )
    assert len(tensor.to_local()) == rows[1] - rows[0], "a tensor is cut in another way than ours"
    return {
        "shape": list(tensor.shape),
        "rows": rows,
        "dtype": str(tensor.dtype).removeprefix("torch."),
    }


def _write_shard(folder: Path, rank: int, copy: Copy) -> dict[str, str]:
    """Write this process's rows, and return the sha256 of the two files."""
    file = folder / f"shard-{rank:05d}.safetensors"
    save_tensors(copy.rows.tensors, file)
    with file.open("rb") as saved:
        os.fsync(saved.fileno())  # the first process's would not reach what this machine holds back
    write_json(file.with_suffix(".json"), copy.facts)
    return {each.name: sha256_of(each) for each in (file, file.with_suffix(".json"))}
