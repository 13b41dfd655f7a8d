"""Checkpoints of a run: safetensors and JSON, written whole, checked when read.

A checkpoint is a folder: tensors.safetensors, state.json (everything else, with a marker where a
tensor belongs) and, written last, manifest.json with the sha256 of both.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
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


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts, lists and tuples of tensors and plain values to folder `path`."""
    tensors: dict[str, Tensor] = {}
    plain = _without_tensors(state, name="", tensors=tensors, seen={})
    with folder_written_whole(path) as aside:
        save_file(tensors, aside / TENSORS)
        (aside / STATE).write_text(json.dumps(plain), encoding="utf-8")
        sums = {name: sha256_of(aside / name) for name in (TENSORS, STATE)}
        write_json(aside / MANIFEST, {"format": FORMAT, "sha256": sums})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what write_checkpoint wrote. Raises TrainingError if it is not what was written."""
    damage = damage_of(path)
    if damage:
        raise TrainingError(
            f"Checkpoint {path} is damaged: {damage}.",
            fix=f"delete {path} and run the same command again; it goes on from an older one.",
        )
    plain = json.loads((path / STATE).read_text(encoding="utf-8"))
    return _with_tensors(plain, load_file(path / TENSORS))


def damage_of(path: Path) -> str | None:
    """Say what is wrong with a checkpoint folder; None if it is as it was written."""
    try:
        sums = read_json(path / MANIFEST)["sha256"]
        for name in (TENSORS, STATE):
            if sha256_of(path / name) != sums[name]:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


class SafetensorsIO(CheckpointIO):
    """Makes Lightning write and read its checkpoints in our format, never by pickle."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write Lightning's checkpoint."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read it. Tensors come to the CPU; Lightning moves them on."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove it."""
        shutil.rmtree(path)


@dataclass(frozen=True, kw_only=True)
class RunCheckpoints:
    """The checkpoints of one run: step-<n> folders to go on from, best-<n> folders of weights."""

    folder: Path
    keeps_last: int

    @classmethod
    def of(cls, root: Path, *, fingerprint: str, keeps_last: int) -> "RunCheckpoints":
        """Those of the run with this fingerprint. Another run's are left alone, beside them."""
        return cls(folder=root / fingerprint, keeps_last=keeps_last)

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
            tensors[name] = value.detach().cpu().contiguous()
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
