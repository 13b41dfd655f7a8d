"""What runs leave on this disk beside MLflow: checkpoints, models, journals, pages, DVC's cache."""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.errors import TrackingError
from vertiform.tracking.inventory import RunFacts
from vertiform.tracking.retention import RUN_ID, YOUNG, Policy, Receipts, Retained
from vertiform.tracking.scratch import is_known

CHECKPOINTS = Path("checkpoints")
STARTS = "starts"  # below it: copies of checkpoints in MLflow
OUTSIDE_RELEASE = Path("runs")
MODELS = ("pretrain", "finetune")  # below runs/: what was trained by hand
JOURNALS, PAGES, SWEEPS = "journals", "compare", "sweeps"
SHIPPED, LINES = "shipped.json", "journal.lines"

NOBODY = "no alias, candidate or recent run needs it"
STILL_RUNNING = "written since a run began that has not ended"
NAMED_BY_RUN = "a run that is kept read it"
IN_USE = "the workspace, a branch, a tag or a run that is kept needs it"
UNSHIPPED = "MLflow does not have all of it yet (`vertiform sync`)"
DIGEST = re.compile(r"[0-9a-f]{32}(?:\.dir)?")


@dataclass(frozen=True)
class Piece:
    """A file or folder that is kept or goes. kept: why; "" if it goes."""

    what: str
    path: Path
    size_bytes: int
    kept: str


@dataclass(frozen=True)
class Cache:
    """DVC's cache: the objects in it that go, those that stay, and why."""

    unused: tuple[Path, ...]
    needed: tuple[Path, ...]
    kept: str


def local_pieces(project: Path, retained: Retained, policy: Policy) -> list[Piece]:
    """List what lies beside MLflow, with why it is kept."""
    running = [run.started for run in retained.inventory.runs.values() if run.is_running]
    since = min(running, default=float("inf"))
    read = _read_by(retained)
    return [
        *_aged("checkpoints", _folders(project / CHECKPOINTS), policy, running_since=since),
        *_aged(
            "fetched starts", _folders(project / CHECKPOINTS / STARTS), policy, running_since=since
        ),
        *_models(project, read, policy),
        *_journals(project / OUTSIDE_RELEASE / JOURNALS, policy),
        *_aged("compare pages", _below(project / OUTSIDE_RELEASE / PAGES), policy),
        # Their runs hold what came of them; a study that is gone cannot be given more trials.
        *_aged("sweeps", _folders(project / OUTSIDE_RELEASE / SWEEPS), policy, running_since=since),
    ]


def committed_receipts(project: Path) -> Receipts:
    """Read which runs and versions the receipts name: at every branch and tag, and as they lie."""
    texts = [path.read_text(encoding="utf-8") for path in project.glob("reports/**/*.json")]
    refs = _git(project, "for-each-ref", "--format=%(objectname)") or b""
    commits = {*refs.decode().split(), (_git(project, "rev-parse", "HEAD") or b"").decode().strip()}
    for commit in sorted(commits - {""}):
        archive = _git(project, "archive", "--format=tar", commit, "reports")
        texts += _json_texts(archive) if archive else []
    versions = {uri for text in texts for uri in _versions_in(text)}
    runs = {run_id for text in texts for run_id in RUN_ID.findall(text)}
    return Receipts(frozenset(runs), frozenset(versions))


def look_at_cache(project: Path, retained: Retained) -> Cache:
    """Find what of DVC's cache nothing needs, by `dvc gc --dry`."""
    folder = _cache_folder(project)
    every = tuple(path for path in folder.glob("files/**/*") if path.is_file())
    if not folder.is_relative_to(project.resolve()):
        return Cache((), every, f"it lies in {folder}, where other projects may keep data too")
    unknown = _unknown_commits(project, retained)
    if unknown:
        reason = f"commit {unknown[0][:12]} is not known here: run `git fetch --all`"
        return Cache((), every, reason)
    said = _collect(project, folder, needed_digests(project, retained), "--dry")
    unused = {Path(line.removeprefix("Removing ")) for line in said if "Removing " in line}
    needed = tuple(path for path in every if path not in unused)
    return Cache(tuple(sorted(unused)), needed, IN_USE)


def remove_unused_cache(project: Path, retained: Retained) -> None:
    """Let `dvc gc` remove what `look_at_cache` found, from this machine's cache alone."""
    _collect(project, _cache_folder(project), needed_digests(project, retained))


def needed_digests(project: Path, retained: Retained) -> set[str]:
    """Return DVC's hashes of what the kept runs read, and of all outputs at their commits.

    Both: dvc.lock is committed after the run whose data it names, if at all.
    """
    kept = [retained.inventory.runs[run_id] for run_id in retained.runs]
    found = {value for run in kept for name, value in run.tags.items() if name.startswith("data.")}
    for commit in {commit for run in kept if (commit := _commit_of(run))}:
        found |= set(_digests_at(project, commit))
    return {digest for digest in found if DIGEST.fullmatch(digest)}


def _collect(project: Path, cache: Path, needed: set[str], *options: str) -> list[str]:
    """Run `dvc gc`, which also keeps what a project beside this one needs: one that we make."""
    with tempfile.TemporaryDirectory() as aside:
        _git(Path(aside), "init", "--quiet")  # DVC looks for experiments, which only git has
        _dvc(Path(aside), "init", "--quiet")
        (Path(aside) / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
        outs = [
            {"md5": digest, "hash": "md5", "path": f"needed-{number}"}
            for number, digest in enumerate(sorted(needed))
        ]
        if outs:
            text = OmegaConf.to_yaml(OmegaConf.create({"outs": outs}))
            (Path(aside) / "needed.dvc").write_text(text)
        kept = ("--workspace", "--all-branches", "--all-tags", "--all-experiments")
        return _dvc(project, "gc", *kept, "--force", "--projects", aside, *options).splitlines()


def _digests_at(project: Path, commit: str) -> Iterator[str]:
    """Yield the hash of every output that DVC's files at `commit` name."""
    names = _git(project, "ls-tree", "-r", "--name-only", commit, ".") or b""
    for name in names.decode().splitlines():
        if not name.endswith(("dvc.lock", ".dvc")):
            continue
        values: Any = _yaml((_git(project, "show", f"{commit}:./{name}") or b"").decode())
        stages = values.get("stages") or {"": values}
        for stage in stages.values():
            for out in stage.get("outs") or ():
                yield str(out.get("md5", ""))


def _yaml(text: str) -> dict[str, Any]:
    values: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return values if isinstance(values, dict) else {}


def _unknown_commits(project: Path, retained: Retained) -> list[str]:
    kept = (retained.inventory.runs[run_id] for run_id in retained.runs)
    commits = {commit for run in kept if (commit := _commit_of(run))}
    return sorted(commit for commit in commits if not is_known(project, commit))


def _commit_of(run: RunFacts) -> str:
    """The commit a run was trained at; "" if it had none."""
    commit = run.tags.get("mlflow.source.git.commit", "")
    return commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else ""


def _read_by(retained: Retained) -> str:
    """All that the kept runs say of what they read, to look for a path in."""
    kept = (retained.inventory.runs[run_id] for run_id in retained.runs)
    return "\n".join(
        text for run in kept for values in (run.tags, run.params) for text in _words(values)
    )


def _words(values: Any) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name} {value}"


def _models(project: Path, read: str, policy: Policy) -> Iterator[Piece]:
    for verb in MODELS:
        for path in _folders(project / OUTSIDE_RELEASE / verb):
            is_read = path.relative_to(project).as_posix() in read
            kept = NAMED_BY_RUN if is_read else YOUNG if policy.is_young(_newest(path)) else ""
            yield Piece("models trained by hand", path, size_of(path), kept)


def _journals(folder: Path, policy: Policy) -> Iterator[Piece]:
    """A journal is needed until MLflow has it all, and then as long as a backup may be put back."""
    for path in _folders(folder):
        kept = "" if _is_shipped(path) else UNSHIPPED
        if not kept and policy.is_young(_newest(path)):
            kept = YOUNG
        yield Piece("journals", path, size_of(path), kept)


def _is_shipped(journal: Path) -> bool:
    """Has MLflow all of it, and is the run over? What cannot be read says no."""
    try:
        state = json.loads((journal / SHIPPED).read_text(encoding="utf-8"))
        is_ended = state.get("is_ended") is True
        has_refused = bool(state.get("refused") or state.get("trouble"))
        return is_ended and not has_refused and state["position"] >= size_of(journal / LINES)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _aged(
    what: str, paths: Iterable[Path], policy: Policy, *, running_since: float = float("inf")
) -> Iterator[Piece]:
    for path in paths:
        newest = _newest(path)
        kept = YOUNG if policy.is_young(newest) else ""
        kept = kept or (STILL_RUNNING if newest >= running_since else "")
        yield Piece(what, path, size_of(path), kept)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; nothing there is 0."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _newest(path: Path) -> float:
    """When the last of it was written, in seconds since 1970."""
    return max((file.stat().st_mtime for file in (path, *path.rglob("*"))), default=0.0)


def _folders(parent: Path) -> list[Path]:
    return [path for path in _below(parent) if path.is_dir() and path.name != STARTS]


def _below(parent: Path) -> list[Path]:
    return sorted(parent.iterdir()) if parent.is_dir() else []


def _json_texts(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        read = (files.extractfile(member) for member in files if member.name.endswith(".json"))
        return [file.read().decode(errors="replace") for file in read if file is not None]


def _versions_in(text: str) -> Iterator[str]:
    try:
        values = json.loads(text)
    except ValueError:
        return
    if isinstance(values, dict) and values.get("model"):
        for key in ("version", "before"):
            if values.get(key):
                yield f"models:/{values['model']}/{values[key]}"


def _cache_folder(project: Path) -> Path:
    return Path(_dvc(project, "cache", "dir").strip()).resolve()


def _git(project: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(
        ["git", "-c", "core.quotepath=off", *arguments],
        cwd=project, capture_output=True, check=False,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else None


def _dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).parent / "dvc", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TrackingError(
            f"`dvc {arguments[0]}` failed in {folder}: {last}",
            fix="put right what it says; nothing of DVC's cache was removed.",
        )
    return done.stdout
