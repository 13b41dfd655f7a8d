"""Builds what conf/ names without Hydra, which a machine with a GPU may lack."""

import importlib
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT


def built(group: str, name: str, **changes: Any) -> Any:
    """Build conf/<group>/<name>.yaml, with some of its values changed."""
    path: Path = ROOT / "conf" / group / f"{name}.yaml"
    values = {**yaml.safe_load(path.read_text(encoding="utf-8")), **changes}
    module, _, target = values.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), target)(**values)
