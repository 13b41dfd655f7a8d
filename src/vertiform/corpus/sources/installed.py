"""Finds the Python files of installed packages, with their licences, without importing any."""

import platform
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path, PurePosixPath

from vertiform.errors import CorpusError, did_you_mean

TEST_FOLDERS = frozenset({"test", "tests", "testing", "idle_test"})
# Other people's code, copied in: its licence is not the one that the package's metadata names.
VENDORED_FOLDERS = frozenset(
    {"_vendor", "_vendored", "vendor", "vendored", "vendored_packages", "_vendored_packages"}
    | {"externals", "_externals", "extern", "third_party", "thirdparty"}
)
NOT_STANDARD_LIBRARY = frozenset({"site-packages", "dist-packages", "lib-dynload", "__pycache__"})
LONGEST_LICENCE_NAME = 60  # characters; some packages put the licence's whole text in its place
SAME_LICENCE = {  # as packages write it -> its SPDX identifier, so that a report counts it once
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """An installed distribution, as it is published."""

    distribution: str
    version: str
    licence: str


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """One Python file on disk. `package` is its import name, `module` its dotted name."""

    path: Path
    package: str
    module: str
    origin: Origin


def standard_library() -> list[ModuleFile]:
    """Return the files of the standard library, sorted by module."""
    root = Path(sysconfig.get_path("stdlib"))
    origin = Origin("python", platform.python_version(), "PSF-2.0")
    names = (path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    wanted = (name for name in names if not NOT_STANDARD_LIBRARY & set(name.split("/")))
    return _modules((name, root / name, origin) for name in wanted)


def package_files(package: str) -> list[ModuleFile]:
    """Return the files of the package of that import name, sorted by module.

    Raises CorpusError if it is not installed, or was installed without a list of its files.
    """
    owners = _packages_distributions().get(package)
    if not owners:
        raise CorpusError(
            f"The package `{package}`, whose documentation is to be read, is not installed.",
            fix=f"install it, or take it out of `packages`; "
            f"{did_you_mean(package, _packages_distributions())}"
            if _has_near(package)
            else f"run `pip install {package}`, or take it out of `packages` in params.yaml.",
        )
    # A distribution named like the package comes first: `mlflow` before `mlflow-skinny`, which
    # lists the same files.
    ordered = sorted(set(owners), key=lambda name: (_canonical(name) != _canonical(package), name))
    modules = _modules(found for name in ordered for found in _recorded(name, package))
    if not modules:
        raise CorpusError(
            f"The package `{package}` is installed without a list of its Python files.",
            fix=f"install it from a wheel (`pip install --force-reinstall {package}`), or take it "
            "out of `packages` in params.yaml.",
        )
    return modules


def licence_of(installed: Distribution) -> str:
    """Return the name of the licence that a distribution's metadata gives, or `unknown`."""
    metadata = installed.metadata.json  # {"license_expression": ..., "classifier": [...], ...}
    expression = metadata.get("license_expression")
    if expression:
        return str(expression)
    classifiers = [
        classifier.rpartition("::")[2].strip()
        for classifier in metadata.get("classifier", [])
        if classifier.startswith("License ::")
    ]
    named = str(metadata.get("license", "")).strip()
    is_name = named and "\n" not in named and len(named) <= LONGEST_LICENCE_NAME
    licence = named if is_name else " AND ".join(classifiers)
    return SAME_LICENCE.get(licence, licence) or "unknown"


def _recorded(name: str, package: str) -> Iterator[tuple[str, Path, Origin]]:
    installed = distribution(name)
    origin = Origin(installed.metadata["Name"], installed.version, licence_of(installed))
    for file in installed.files or []:
        path = PurePosixPath(file)
        if path.suffix == ".py" and path.parts[0] in (package, f"{package}.py"):
            yield path.as_posix(), Path(str(file.locate())), origin


def _modules(found: Iterable[tuple[str, Path, Origin]]) -> list[ModuleFile]:
    """Name the modules; leave out tests and vendored code, and what an earlier owner listed."""
    modules: dict[str, ModuleFile] = {}
    for name, path, origin in found:
        *folders, stem = name.removesuffix(".py").split("/")
        if (TEST_FOLDERS | VENDORED_FOLDERS) & set(folders):
            continue
        parts = folders if stem == "__init__" else [*folders, stem]
        module = ".".join(parts)
        modules.setdefault(module, ModuleFile(path, parts[0], module, origin))
    return [modules[module] for module in sorted(modules)]


def _has_near(package: str) -> bool:
    return "did you mean" in did_you_mean(package, _packages_distributions())


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _packages_distributions() -> dict[str, list[str]]:
    return {name: list(owners) for name, owners in packages_distributions().items()}
