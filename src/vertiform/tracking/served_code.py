"""Finds the part of Vertiform that a served model needs, so that it loads without Vertiform."""

import ast
import shutil
from collections.abc import Iterable
from pathlib import Path

import vertiform

PREDICTOR = "vertiform.inference.predictor"
# What the code below imports from others; with MLflow itself, all that a server must install.
PACKAGES = ("mlflow", "numpy", "safetensors", "tokenizers", "torch", "transformers")
_ROOT = Path(vertiform.__file__).parent


def served_modules() -> dict[str, Path]:
    """Return the predictor's module and every module of ours that it leads to, by name."""
    found: dict[str, Path] = {}
    waiting = [PREDICTOR]
    while waiting:
        name = waiting.pop()
        path = _path_of(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_imports_in(path)]
    return found


def foreign_packages(modules: Iterable[Path]) -> set[str]:
    """Return the top-level packages that these files import, the standard library included."""
    return {name.partition(".")[0] for path in modules for name in _imports_in(path)} - {
        "vertiform"
    }


def copy_served_code(into: Path) -> Path:
    """Copy those modules to `into`/vertiform, and return that folder."""
    for path in served_modules().values():
        copy = into / "vertiform" / path.relative_to(_ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return into / "vertiform"


def _path_of(module: str) -> Path | None:
    """Return the file of a module of ours; None for another's, or for a name inside a module."""
    package, *parts = module.split(".")
    if package != "vertiform":
        return None
    place = _ROOT.joinpath(*parts)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports_in(path: Path) -> list[str]:
    # Those inside functions too: a lazy import is needed all the same.
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
