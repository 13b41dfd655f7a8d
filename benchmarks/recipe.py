"""Builds what conf/ names without Hydra, which a machine with a GPU may lack."""

import importlib
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT


def built(group: str, name: str, **changes: Any) -> Any:
    """Build conf/<group>/<name>.yaml, with some of its values changed."""
    return _built(_read(f"{group}/{name}"), changes)


def built_section(door: str, key: str, **changes: Any) -> Any:
    """Build the section `key` of conf/<door>.yaml, with some of its values changed."""
    return _built(_read(door)[key], changes)


def _read(name: str) -> dict[str, Any]:
    path: Path = ROOT / "conf" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _built(section: dict[str, Any], changes: dict[str, Any]) -> Any:
    values = {**section, **changes}
    module, _, target = values.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), target)(**values)
