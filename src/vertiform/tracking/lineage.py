"""Where a run came from: code, data, packages, machine and command, collected without MLflow."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.files import sha256_of
from vertiform.tracking.store import without_credentials

DIFF_BYTES = 1_000_000  # kept of a dirty tree's diff; its hash is over the whole
NO_GIT = "no git"
NO_COMMIT = "no commit yet"
DIRTY_FILES = "git.dirty_files"  # a tag: one a line
# Stages write these while a run goes on, so that a change in them says nothing about the code.
WRITTEN_BY_STAGES = ("reports", "release", "dvc.lock")
PACKAGES = (
    "vertiform", "torch", "lightning", "transformers", "tokenizers", "safetensors", "numpy",
    "scikit-learn", "mlflow", "dvc",
)  # fmt: skip


@dataclass(frozen=True)
class Code:
    """The state of the repository. Without git, `commit` and `branch` say so."""

    commit: str
    branch: str
    diff: str  # against the commit; untracked files are named at its end
    diff_sha256: str  # of the whole diff; "" if the tree is clean
    dirty_files: tuple[str, ...] = ()  # that differ from the commit, or are new

    @property
    def is_dirty(self) -> bool:
        return bool(self.diff_sha256)


@dataclass(frozen=True)
class DataVersion:
    """One file or folder that a run reads, and its hash."""

    path: str  # relative to the root
    digest: str
    algorithm: str  # "md5" as in dvc.lock (a folder's ends in .dir), or "sha256"
    stage: str  # of dvc.lock that wrote it; "" if DVC does not know it
    size_bytes: int


@dataclass(frozen=True)
class Lineage:
    """Everything that a run is rebuilt from, beside its composed config."""

    code: Code
    data: tuple[DataVersion, ...]
    lock_sha256: str  # of requirements.lock; "" if there is none
    packages: dict[str, str]
    hardware: dict[str, str]
    command: str

    def tags(self) -> dict[str, str]:
        """Return it as tags; the first four are those that MLflow's own pages show."""
        return {
            "mlflow.source.name": self.command,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": self.code.commit,
            "mlflow.source.git.branch": self.code.branch,
            "git.is_dirty": str(self.code.is_dirty).lower(),
            "git.diff_sha256": self.code.diff_sha256 or "none",
            DIRTY_FILES: "\n".join(self.code.dirty_files) or "none",
            "lock.sha256": self.lock_sha256 or "no requirements.lock",
            **{f"data.{version.path}": version.digest for version in self.data},
            **{f"package.{name}": version for name, version in self.packages.items()},
            **{f"hardware.{name}": value for name, value in self.hardware.items()},
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values for lineage.json. The diff is a file of its own."""
        values = asdict(self)
        del values["code"]["diff"]
        return values | {"is_dirty": self.code.is_dirty}


def collect_lineage(root: Path, *, data: Sequence[Path], device: str) -> Lineage:
    """Collect the lineage of this process in the project at `root`.

    data: the files and folders the run reads, relative to `root` or absolute.
    device: as torch names it for people, "cpu" or "cuda: NVIDIA H100"; torch is not imported here.
    """
    outputs = _outputs_in_lock(root)
    return Lineage(
        code=read_code(root),
        data=tuple(_data_version(root, path, outputs) for path in data),
        lock_sha256=_sha256_if_there(root / "requirements.lock"),
        packages={"python": platform.python_version()} | _package_versions(),
        hardware={"device": device} | _hardware(),
        command=without_credentials(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
    )


def read_code(root: Path) -> Code:
    """Read commit, branch and uncommitted changes. A folder without git or commits says so."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        inside = _git(root, "rev-parse", "--is-inside-work-tree")
        state = NO_COMMIT if inside else NO_GIT
        return Code(commit=state, branch=state, diff="", diff_sha256="")
    outside_outputs = ["--", ".", *(f":(exclude){path}" for path in WRITTEN_BY_STAGES)]
    diff = _git(root, "diff", "HEAD", "--no-color", "--no-ext-diff", *outside_outputs) or ""
    edited = _git(root, "diff", "HEAD", "--name-only", "--relative", *outside_outputs) or ""
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", *outside_outputs) or ""
    for name in untracked.splitlines():
        diff += f"\nuntracked: {name} sha256 {_sha256_if_there(root / name)}"
    whole = without_credentials(diff).encode()
    return Code(
        commit=commit,
        branch=_git(root, "branch", "--show-current") or "detached",
        diff=whole[:DIFF_BYTES].decode(errors="ignore"),
        diff_sha256=hashlib.sha256(whole).hexdigest() if whole else "",
        dirty_files=(*edited.splitlines(), *untracked.splitlines()),
    )


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says, or None where there is no git, no repository or no such thing."""
    try:
        answer = subprocess.run(
            ["git", "-c", "core.quotepath=off", *arguments],
            cwd=root, capture_output=True, timeout=30, check=False,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},  # a status must not hold up a commit
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = answer.stdout.decode(errors="replace").rstrip("\n")
    return text if answer.returncode == 0 else None


def _outputs_in_lock(root: Path) -> dict[str, DataVersion]:
    """Return every output that dvc.lock knows, by its path."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    stages: Any = OmegaConf.to_container(OmegaConf.load(lock), resolve=False)
    outputs = {}
    for stage, entry in (stages.get("stages") or {}).items():
        for out in entry.get("outs") or []:
            algorithm = out.get("hash", "md5")
            outputs[out["path"]] = DataVersion(
                path=out["path"],
                digest=str(out.get(algorithm, "")),
                algorithm=algorithm,
                stage=stage,
                size_bytes=int(out.get("size", 0)),
            )
    return outputs


def _data_version(root: Path, path: Path, outputs: dict[str, DataVersion]) -> DataVersion:
    place = (root / path).resolve()
    is_inside = place.is_relative_to(root.resolve())
    name = place.relative_to(root.resolve()).as_posix() if is_inside else place.name
    if name in outputs:
        return outputs[name]
    files = [place] if place.is_file() else [f for f in place.rglob("*") if f.is_file()]
    return DataVersion(
        path=name,
        digest=sha256_of(place),
        algorithm="sha256",
        stage="",
        size_bytes=sum(file.stat().st_size for file in files),
    )


def _sha256_if_there(path: Path) -> str:
    return sha256_of(path) if path.is_file() else ""


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def cpu_name() -> str:
    """Name the CPU as its maker does, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if models:
            return models[0]
    return platform.processor() or platform.machine()


def _hardware() -> dict[str, str]:
    # The cores given to this process, where the system can tell them from all there are.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_name(),
        "cores": str(cores),
        "memory_gb": f"{memory_bytes / 1e9:.1f}",
        "system": platform.platform(),
    }
