"""Records of runs as a rebuild reads them, and a small project that git and DVC know."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vertiform.tracking.lineage import DataVersion, Lineage, read_code
from vertiform.tracking.rebuild import Rebuilt
from vertiform.tracking.recorded import Recorded, RecordedRun, facts_of
from vertiform.tracking.registry import Version

COMMIT = "c0ffee0" + "0" * 33
TASKS = DataVersion("data/tiny/tasks", "ab" * 16 + ".dir", "md5", "label@tiny", 10)
WEIGHTS = DataVersion("models/tiny/pretrain", "cd" * 16 + ".dir", "md5", "pretrain", 10)
FILES = {"model.safetensors": "11" * 32, "task.json": "22" * 32}
SCORES = {"val/f1_macro": 0.8, "test/f1_macro": 0.7}


def lineage(**values: Any) -> dict[str, Any]:
    """What lineage.json holds."""
    return {
        "code": {"commit": COMMIT, "branch": "main", "diff_sha256": ""},
        "is_dirty": False,
        "data": [asdict(TASKS)],
        "lock_sha256": "ee" * 32,
        "packages": {"python": "3.11.7", "torch": "2.13.0"},
        "hardware": {"device": "cpu", "cpu": "A processor", "cores": "2"},
        "command": "finetune",
    } | values


def recorded_run(**values: Any) -> RecordedRun:
    """The record of a run, whose tags say what its lineage.json says."""
    told = values.pop("lineage", lineage())
    config = {"domain": "tiny", "seed": 1, "trainer": {"threads": 1}}
    defaults = {"run_id": "1" * 32, "config": config, "tags": facts_of(told), "diff": ""}
    return RecordedRun(**(defaults | values), lineage=told)


def recorded(**values: Any) -> Recorded:
    """The record of a version of tiny-names."""
    version = Version("tiny-names", 1, "m-1", "1" * 32, ("staging",), {})
    defaults = {
        "version": version,
        "task": "names",
        "receipt": Path("reports/tiny/finetune/names.json"),
        "finetuned": recorded_run(),
        "pretrained": None,
        "scores": SCORES,
        "files": FILES,
    }
    return Recorded(**(defaults | values))


def rebuilt(**values: Any) -> Rebuilt:
    """What came of a rebuild; by default the same as was recorded."""
    defaults = {
        "finetuned": lineage(),
        "pretrained": None,
        "config": recorded_run().config,
        "files": FILES,
        "scores": {},
        "lock": {},
        "seconds": 1.0,
    }
    return Rebuilt(**(defaults | values))


def project_with_data(folder: Path) -> Path:
    """A git and DVC project with one stage, whose output data/notes is in the cache."""
    (folder / "src").mkdir(parents=True)
    (folder / "code.py").write_text("print('one')\n")
    (folder / ".gitignore").write_text("/data/\n")
    (folder / "dvc.yaml").write_text(
        "stages:\n"
        "  label:\n"
        "    cmd: mkdir -p data/notes && cp code.py data/notes/text\n"
        "    deps: [code.py]\n"
        "    outs: [data/notes]\n"
        "  broken:\n"
        "    cmd: exit 3\n"
    )
    command(folder, "git", "init", "-q")
    command(folder, "dvc", "init", "-q")
    commit(folder)
    command(folder, "dvc", "repro", "-q", "label")
    return folder


def commit(folder: Path) -> str:
    """Commit all there is; returns the commit."""
    command(folder, "git", "add", "-A")
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    command(folder, "git", *who, "commit", "-q", "--allow-empty", "-m", "work")
    return command(folder, "git", "rev-parse", "HEAD").strip()


def command(folder: Path, program: str, *arguments: str) -> str:
    """Run git, or the DVC beside this Python; returns what it says."""
    place = str(Path(sys.executable).parent / program) if program == "dvc" else program
    done = subprocess.run(
        [place, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def record_of(folder: Path, **values: Any) -> RecordedRun:
    """The record of a run that was trained in `folder` as it is now."""
    code = read_code(folder)
    told = Lineage(code, (), "", {}, {}, "finetune").as_json() | values
    return recorded_run(lineage=told, diff=code.diff)
