"""Checkpoints of a run: safetensors and JSON, written whole, checked when read.

A checkpoint is a folder: tensors.safetensors, state.json (everything else, with a marker where a
tensor belongs) and, written last, manifest.json with the sha256 of both. One of many processes has
more files, which the manifest names too (training/sharded.py).
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vertiform.errors import TrainingError
from vertiform.files import folder_written_whole, read_json, sha256_of, write_json

FORMAT = 1
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
OURS = "vertiform"  # the key of what our callbacks add to Lightning's checkpoint

logger = logging.getLogger(__name__)


def fingerprint_of(config: Mapping[str, Any], *, data_sha256: str) -> str:
    """Return the identity of a run: equal only if config and data are. 16 hexadecimal digits.

    config: plain values, without what changes speed and place only (trainer, tracking).
    """
    text = json.dumps([config, data_sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Snapshot(NamedTuple):
    """A state as it was at one moment: its tensors by name, in host memory, and the rest as JSON.

    The rest has a marker where a tensor belongs.
    """

    tensors: dict[str, Tensor]
    plain: str


def snapshot_of(state: Mapping[str, Any], *, into: Mapping[str, Tensor] | None = None) -> Snapshot:
    """Copy nested dicts, lists and tuples of tensors and plain values to host memory.

    into: tensors of an earlier snapshot that nobody needs any more. Their memory is written over
          where it fits, so that a run's snapshots take the memory of one.
    """
    found: dict[str, Tensor] = {}
    plain = _without_tensors(state, name="", tensors=found, seen={})
    into = into or {}
    copies = {name: _copied(tensor, into.get(name)) for name, tensor in found.items()}
    if any(tensor.is_cuda for tensor in found.values()):
        torch.cuda.current_stream().synchronize()  # once, not for each tensor
    return Snapshot(copies, json.dumps(plain))


def state_of(snapshot: Snapshot) -> dict[str, Any]:
    """Return the state that a snapshot was taken of, with the snapshot's own tensors."""
    return _with_tensors(json.loads(snapshot.plain), snapshot.tensors)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts, lists and tuples of tensors and plain values to folder `path`."""
    write_snapshot(path, snapshot_of(state))


def nothing_first() -> None:
    """Do nothing before the manifest is written."""


def write_snapshot(
    path: Path, snapshot: Snapshot, *, before_manifest: Callable[[], None] = nothing_first
) -> None:
    """Write a snapshot to folder `path`, whole or not at all.

    before_manifest: what has to have succeeded for the checkpoint to count.
    """
    with folder_written_whole(path) as aside:
        fill_folder(aside, snapshot, sums={}, before_manifest=before_manifest)


def fill_folder(
    folder: Path,
    snapshot: Snapshot,
    *,
    sums: Mapping[str, str],
    before_manifest: Callable[[], None],
) -> None:
    """Write a snapshot, and the manifest; `sums` are the sha256 of what else is in the folder."""
    save_tensors(snapshot.tensors, folder / TENSORS)
    (folder / STATE).write_text(snapshot.plain, encoding="utf-8")
    own = {name: sha256_of(folder / name) for name in (TENSORS, STATE)}
    before_manifest()
    write_json(folder / MANIFEST, {"format": FORMAT, "sha256": {**own, **sums}})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what write_checkpoint wrote. Raises TrainingError if it is not what was written."""
    damage = damage_of(path)
    if damage:
        raise TrainingError(
            f"Checkpoint {path} is damaged: {damage}.",
            fix=f"delete {path} and run the same command again; it goes on from an older one.",
        )
    return state_in(path)


def state_in(folder: Path) -> dict[str, Any]:
    """Read what is whole in a checkpoint folder that was checked before."""
    plain = (folder / STATE).read_text(encoding="utf-8")
    return state_of(Snapshot(load_file(folder / TENSORS), plain))


def damage_of(path: Path) -> str | None:
    """Say what is wrong with a checkpoint folder; None if it is as it was written."""
    try:
        sums = read_json(path / MANIFEST)["sha256"]
        for name in sorted({TENSORS, STATE, *sums}):
            if sha256_of(path / name) != sums[name]:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@dataclass(frozen=True, kw_only=True)
class RunCheckpoints:
    """The checkpoints of one run: step-<n> folders to go on from, best-<n> folders of weights."""

    folder: Path
    keeps_last: int

    @classmethod
    def of(cls, root: Path, *, fingerprint: str, keeps_last: int) -> "RunCheckpoints":
        """Those of the run with this fingerprint. Another run's are left alone, beside them."""
        return cls(folder=root / fingerprint, keeps_last=keeps_last)

    @property
    def energy(self) -> Path:
        """The file that keeps the energy taken so far (training/energy.py), out of prune's way."""
        return self.folder / "used" / "energy.json"

    def at_step(self, step: int) -> Path:
        """The folder of the checkpoint after `step` steps."""
        return self.folder / f"step-{step:08d}"

    def best_at_step(self, step: int) -> Path:
        """The folder of the weights after `step` steps, the best at that time."""
        return self.folder / f"best-{step:08d}"

    def facts_of(self, checkpoint: Path) -> dict[str, Any]:
        """What our callbacks keep in a checkpoint: step, best_step (or None), best_metrics."""
        return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))[OURS]

    def newest_whole(self) -> Path | None:
        """The newest undamaged checkpoint whose best weights are undamaged; others are named."""
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            damage = damage_of(path)
            if damage is None:
                best_step = self.facts_of(path)["best_step"]
                damage = None if best_step is None else damage_of(self.best_at_step(best_step))
            if damage is None:
                return path
            logger.warning("Passing over checkpoint %s, which is damaged: %s.", path, damage)
            shutil.rmtree(path)  # or it would count as one of the last, and push out a good one
        return None

    def prune(self) -> None:
        """Remove all but the last checkpoints and the best weights they need."""
        steps = sorted(self.folder.glob("step-*"))
        kept = steps[-self.keeps_last :]
        needed = {self.facts_of(path)["best_step"] for path in kept}
        best = {self.best_at_step(step) for step in needed if step is not None}
        for path in [*steps, *self.folder.glob("best-*"), *self.folder.glob(".*")]:
            if path not in kept and path not in best:
                shutil.rmtree(path, ignore_errors=True)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file. Raises OSError, which safetensors hides in an error of its own."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error


def _copied(tensor: Tensor, into: Tensor | None) -> Tensor:
    """Copy to host memory. From a GPU the copy may still be under way: synchronise, then read."""
    if into is None or into.shape != tensor.shape or into.dtype != tensor.dtype:
        # Pinned, or the copy would go through a small buffer of the driver's, at half the speed.
        into = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return into.copy_(tensor, non_blocking=tensor.is_cuda)


def _without_tensors(
    value: Any, *, name: str, tensors: dict[str, Tensor], seen: dict[tuple[Any, ...], str]
) -> Any:
    """Return `value` as JSON can hold it, with its tensors moved to `tensors`.

    Two names of one tensor (tied embeddings) are stored once: safetensors refuses shared memory.
    """
    deeper = {"tensors": tensors, "seen": seen}
    if isinstance(value, Tensor):
        place = (value.data_ptr(), value.storage_offset(), *value.shape, *value.stride())
        if value.numel() == 0 or place not in seen:
            seen[place] = name
            tensors[name] = value.detach()
        return {"__tensor__": seen[place]}
    if isinstance(value, Mapping):
        # As pairs, because JSON would turn the optimiser's whole-number keys into text.
        pairs = [
            [key, _without_tensors(item, name=f"{name}/{key}", **deeper)]
            for key, item in value.items()
        ]
        if all(isinstance(key, str) for key in value):
            return dict(pairs)
        return {"__pairs__": pairs}
    if isinstance(value, list | tuple):
        items = [
            _without_tensors(item, name=f"{name}/{place}", **deeper)
            for place, item in enumerate(value)
        ]
        return items if isinstance(value, list) else {"__tuple__": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint does not hold.")


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "__tensor__" in value:
        return tensors[value["__tensor__"]]
    if "__tuple__" in value:
        return tuple(_with_tensors(item, tensors) for item in value["__tuple__"])
    if "__pairs__" in value:
        return {key: _with_tensors(item, tensors) for key, item in value["__pairs__"]}
    return {key: _with_tensors(item, tensors) for key, item in value.items()}
