"""A folder in which recorded code runs again: a clone, its data by hash, and DVC's own commands.

git and DVC are only ever commands here. Nothing is written outside the folder: DVC's cache is read,
and what the stages write stays uncommitted (`--no-commit`).
"""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.errors import TrackingError
from vertiform.files import sha256_of
from vertiform.tracking.lineage import DIFF_BYTES, NO_GIT
from vertiform.tracking.recorded import RecordedRun
from vertiform.tracking.store import DATABASE

UNTRACKED = re.compile(r"^untracked: (?P<name>.*) sha256 (?P<sha256>[0-9a-f]*)$", re.MULTILINE)
# Trains, whatever the cache or the run cache hold, and puts nothing into either.
REALLY_RUN = ("--force", "--no-run-cache", "--no-commit")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scratch:
    """The project as it was recorded. `project`: the one it was cloned from."""

    folder: Path
    project: Path
    bin_folder: Path  # of the Python whose packages run the stages

    def compose(self) -> None:
        """Flatten the recorded conf/ to release/, and keep every run in this folder's store."""
        self.run_stage("compose")
        for file in sorted((self.folder / "release").glob("*.yaml")):
            values: Any = OmegaConf.load(file)
            if "tracking" in values:
                values.tracking.tracking_uri = None
                file.write_text(OmegaConf.to_yaml(values), encoding="utf-8")

    def run_stage(self, stage: str) -> None:
        """Run one stage by DVC, its lines on stderr. Raises TrackingError if it fails."""
        logger.info("rebuild: %s", stage)
        self._repro("--single-item", stage)

    def make_data(self, stages: Sequence[str]) -> None:
        """Run these data stages and all that stand before them, from the raw text on."""
        for file in _said(_git(self.folder, "ls-files", "*.dvc")).splitlines():
            self._dvc("checkout", "--force", file)  # if it is not in the cache, its stage says so
        logger.info("rebuild: %s, from the raw text", ", ".join(stages))
        self._repro(*stages)

    def take_data(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring outputs of the data stages from the project's DVC cache, by their hashes alone.

        wanted: path, and its entry of lineage.json. The recorded commit's own dvc.lock does not
        count: it was committed before the run, and may know older bytes.
        """
        stages: dict[str, Any] = {}
        for path, data in wanted.items():
            # DVC asks for a command, and does not look at it in a checkout.
            stage = stages.setdefault(data["stage"], {"cmd": "taken by its hash", "outs": []})
            algorithm = data["algorithm"]
            stage["outs"].append({"path": path, "hash": algorithm, algorithm: data["digest"]})
        lock = OmegaConf.create({"schema": "2.0", "stages": stages})
        (self.folder / "dvc.lock").write_text(OmegaConf.to_yaml(lock), encoding="utf-8")
        if not wanted:
            return
        logger.info("rebuild: %s from DVC's cache", ", ".join(wanted))
        done = self._dvc("checkout", "--force", *wanted)
        if done.returncode != 0:
            missing = [path for path in wanted if f"\n{path}" in done.stderr] or list(wanted)
            raise TrackingError(
                f"DVC's cache here does not hold what was recorded of {', '.join(missing)} "
                f"({', '.join(wanted[path]['digest'] for path in missing)}).",
                fix="run `dvc pull` for the commit that made it, or give --from-raw to make the "
                "data again.",
            )

    def check_plain_files(self, data: Sequence[Mapping[str, Any]]) -> None:
        """See that files which a run read and DVC does not know came with the commit unchanged."""
        for entry in data:
            path = self.folder / entry["path"]
            if not path.exists() or sha256_of(path) != entry["digest"]:
                state = "differs" if path.exists() else "is not there"
                raise TrackingError(
                    f"{entry['path']}, which the run read, {state} in the recorded commit, and DVC "
                    "does not know it.",
                    fix="nothing here can bring it back; put such a file into git or DVC before "
                    "the next training.",
                )

    def build_environment(self) -> "Scratch":
        """Build .venv from the recorded requirements.lock, by the recorded scripts/bootstrap.py."""
        script = self.folder / "scripts" / "bootstrap.py"
        if not script.is_file():
            raise TrackingError(
                "The recorded commit has no scripts/bootstrap.py to build its environment with.",
                fix="leave out --fresh-environment; what differs in the packages is told.",
            )
        logger.info("rebuild: an environment from the recorded requirements.lock")
        done = subprocess.run([sys.executable, script], cwd=self.folder, stdout=2, check=False)
        if done.returncode != 0:
            raise TrackingError(
                "The recorded environment could not be built; its lines are above.",
                fix="check the network and the space, or leave out --fresh-environment.",
            )
        return Scratch(self.folder, self.project, self.folder / ".venv" / "bin")

    def _repro(self, *stages: str) -> None:
        if self._dvc("repro", *REALLY_RUN, *stages, is_shown=True).returncode != 0:
            raise TrackingError(
                f"{stages[-1]} of the recorded commit does not run here; its lines are above.",
                fix="put right what they say, or see for yourself: `vertiform verify --keep` "
                "leaves the folder for you to run `dvc repro` in.",
            )

    def _dvc(self, *arguments: str, is_shown: bool = False) -> "subprocess.CompletedProcess[str]":
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DVC_")},
            "PATH": f"{self.bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(self.folder / "src"),  # the recorded code, not what is installed
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / DATABASE}",
            "DVC_NO_ANALYTICS": "1",
        }
        command = [str(self.bin_folder / "dvc"), *arguments]
        if is_shown:
            return subprocess.run(
                command, cwd=self.folder, env=environment, stdout=2, text=True, check=False
            )
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )


def make_scratch(project: Path, run: RecordedRun, *, into: Path) -> Scratch:
    """Clone `project` into the empty folder `into` and bring it to what `run` was trained from.

    Raises TrackingError if the commit is not known here or its uncommitted changes are not whole.
    """
    check_commit(project, run.commit)
    check_diff(run)
    top = Path(_said(_git(project, "rev-parse", "--show-toplevel")))
    inside = _said(_git(project, "rev-parse", "--show-prefix"))
    clone = into / "clone"
    logger.info("rebuild: commit %s, into %s", run.commit[:12], clone)
    # A local clone takes every object, those that no branch reaches any more too.
    _must(_git(into, "clone", "--quiet", "--no-checkout", str(top), str(clone)))
    _must(_git(clone, "checkout", "--quiet", "--detach", run.commit))
    folder = clone / inside
    _apply(run, folder, project=project)
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {_cache(project)}\n")
    return Scratch(folder, project, Path(sys.executable).parent)


def check_commit(project: Path, commit: str) -> None:
    """See that git here knows `commit`."""
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        raise TrackingError(
            f"The run was trained with {commit}, so its code is not known.",
            fix="commit the project to git, train it again, and register that version.",
        )
    if not is_known(project, commit):
        raise TrackingError(
            f"The commit {commit[:12]} that the run was trained at is not known here.",
            fix="run `git fetch --all`; if nobody has it any more, train it again.",
        )


def is_known(project: Path, commit: str) -> bool:
    """Is `commit` one that git here holds?"""
    return _git(project, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def check_diff(run: RecordedRun) -> None:
    """See that the uncommitted changes of a dirty tree were kept whole."""
    expected = run.lineage["code"]["diff_sha256"]
    if not expected:
        return
    kept = run.diff.encode()
    if hashlib.sha256(kept).hexdigest() != expected:
        raise TrackingError(
            f"The run was trained with uncommitted changes, of which {len(kept):,} bytes were kept "
            f"and not all ({DIFF_BYTES:,} at most), so it cannot be rebuilt.",
            fix="commit the changes, train it again, and register that version.",
        )


def _apply(run: RecordedRun, folder: Path, *, project: Path) -> None:
    """Put the recorded uncommitted changes and untracked files into the clone."""
    first = UNTRACKED.search(run.diff)
    patch = (run.diff[: first.start()] if first else run.diff).strip("\n")
    if patch:
        file = folder.parent / "uncommitted.diff"
        file.write_text(patch + "\n", encoding="utf-8")
        done = _git(folder, "apply", "--whitespace=nowarn", str(file))
        file.unlink()
        if done.returncode != 0:
            raise TrackingError(
                "The recorded uncommitted changes cannot be applied to their commit: "
                f"{done.stderr.strip().splitlines()[-1]}.",
                fix="binary files and addresses with passwords are not kept; commit the changes, "
                "train it again, and register that version.",
            )
    for found in UNTRACKED.finditer(run.diff):
        name, sha256 = found["name"], found["sha256"]
        source = project / name
        if not source.is_file() or sha256_of(source) != sha256:
            raise TrackingError(
                f"The run was trained with the file {name}, which was not in git; it is not here "
                "any more as it was, so the run cannot be rebuilt.",
                fix="put the file back, or commit such files, train again and register that.",
            )
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)


def _cache(project: Path) -> Path:
    """Where DVC keeps the project's data."""
    done = subprocess.run(
        [Path(sys.executable).parent / "dvc", "cache", "dir"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise TrackingError(
            f"{project} is not a DVC project: {done.stderr.strip().splitlines()[-1]}",
            fix="run this from the root of the project.",
        )
    return Path(done.stdout.strip())


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("git") is None:
        raise TrackingError(f"There is {NO_GIT} on this machine.", fix="install it.")
    command = ["git", "-c", "core.quotepath=off", "-c", "advice.detachedHead=false", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return _must(done).stdout.strip()


def _must(done: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    if done.returncode != 0:
        raise TrackingError(
            f"git does not do what a rebuild needs: {done.stderr.strip()}",
            fix="run this from the root of a git clone of the project.",
        )
    return done
