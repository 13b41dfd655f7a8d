"""dvc.yaml against the code: DVC does not see imports, so these tests do."""

import ast
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vertiform.cli.compose import compose

ROOT = Path(__file__).parents[2]
DVC = OmegaConf.to_container(OmegaConf.load(ROOT / "dvc.yaml"), resolve=False)
STAGES = {name: entry.get("do", entry) for name, entry in DVC["stages"].items()}

# Code that every stage reaches and that cannot change what it writes, with the reason.
NEVER_CHANGES_BYTES = {
    "src/vertiform/__init__.py": "holds a docstring",
    "src/vertiform/errors.py": "words for a person",
    "src/vertiform/doors.py": "exit codes and environment",
    "src/vertiform/progress.py": "a bar on stderr",
    "src/vertiform/files.py": "how bytes land, never which",
    "src/vertiform/checkpoint_names.py": "where a checkpoint lies; its name is tracked itself",
    "src/vertiform/params.py": "reads params.yaml, whose values DVC tracks itself",
    "src/vertiform/corpus/__init__.py": "holds a docstring",
    "src/vertiform/corpus/document.py": "the shard format: changing it changes what is read, too",
    "src/vertiform/cli/__init__.py": "holds a docstring",
    "src/vertiform/cli/compose.py": "what it composes is tracked as release/*.yaml",
    "src/vertiform/cli/session.py": "where a run is recorded",
    "src/vertiform/cli/identity.py": "which run a killed one is; its inputs are tracked themselves",
    "src/vertiform/cli/layout.py": "reads dvc.yaml, whose commands DVC tracks itself",
    "pipelines/__init__.py": "holds a docstring",
}
# Where a run is recorded: it changes the place of the record, never the weights or the scores.
NEVER_CHANGES_RESULTS = ("src/vertiform/tracking/",)


def source_file(module: str) -> Path | None:
    for base in (ROOT / "src", ROOT):
        path = base / module.replace(".", "/")
        if path.with_suffix(".py").exists():
            return path.with_suffix(".py")
        if (path / "__init__.py").exists():
            return path / "__init__.py"
    return None


def imported_modules(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("vertiform", "pipelines")}


def reached_from(start: Path) -> set[str]:
    """Every file of ours that `start` imports, at any depth, relative to the root."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        waiting += [found for name in imported_modules(file) if (found := source_file(name))]
    return {file.relative_to(ROOT).as_posix() for file in seen}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs(stage):
    deps = [dep for dep in STAGES[stage]["deps"] if not dep.startswith("${")]
    missing = [
        file
        for file in sorted(reached_from(ROOT / "pipelines" / f"{stage}.py"))
        if file not in NEVER_CHANGES_BYTES
        and not file.startswith(NEVER_CHANGES_RESULTS)
        and not any(file == dep or file.startswith(f"{dep}/") for dep in deps)
    ]
    assert not missing, f"add to the deps of `{stage}` in dvc.yaml: {', '.join(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_no_code_that_is_gone(stage):
    code = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "pipelines/"))]
    assert [dep for dep in code if not (ROOT / dep).exists()] == []


@pytest.mark.parametrize(
    ("stage", "door"),
    [
        ("pretrain", "pretrain"),
        ("finetune", "finetune"),
        ("evaluate", "evaluate"),
        ("promote", "promote"),
    ],
)
def test_every_key_that_changes_a_result_is_tracked(stage, door, monkeypatch):
    monkeypatch.chdir(ROOT)
    ((_, tracked),) = (
        (file, keys) for entry in STAGES[stage]["params"] for file, keys in entry.items()
    )
    overrides = ["domain=software"] if door == "pretrain" else ["domain=software", "task.name=area"]
    composed = set(compose(door, overrides))
    untracked_on_purpose = {
        "pretrain": {"trainer", "tracking"},
        "finetune": {"trainer", "tracking"},
        "evaluate": {"domain", "task", "tracking"},
        "promote": {"domain", "task", "tracking", "events"},
    }[stage]
    assert composed - set(tracked) == untracked_on_purpose
