"""What the documents tell a person to type exists, and asking for help is fast."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vertiform.cli.main import MODULES, VERBS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = re.compile(r"^\s*(?:\$ )?(make|vertiform|dvc) +([a-z][\w-]*)([^\n#]*)", re.MULTILINE)


def documented():
    for document in DOCUMENTS:
        if not document.exists():
            continue
        for block in re.findall(
            r"```(?:bash|sh|console)\n(.*?)```", document.read_text(), re.DOTALL
        ):
            for program, verb, rest in COMMANDS.findall(block):
                yield pytest.param(
                    program, verb, rest, id=f"{document.name}: {program} {verb}{rest}"[:80]
                )


def make_targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("program", "verb", "rest"), documented())
def test_a_documented_command_exists(program, verb, rest):
    if program == "make":
        assert verb in make_targets()
    elif program == "vertiform":
        assert verb in VERBS
    else:
        stages = re.findall(r"^  (\w+):$", (ROOT / "dvc.yaml").read_text(), re.MULTILINE)
        named = rest.split()
        assert verb in {
            "repro",
            "pull",
            "push",
            "plots",
            "metrics",
            "params",
            "gc",
            "status",
            "dag",
            "exp",
            "queue",
        }
        if verb == "repro":
            for word in [word for word in named if not word.startswith("-")]:
                assert word.split("@")[0] in stages


def test_every_make_target_says_what_it_does():
    text = (ROOT / "Makefile").read_text()
    assert make_targets() == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_comes_in_a_third_of_a_second(verb):
    """CPU seconds, the best of three: a shared machine slows the clock, not the work."""
    command = [sys.executable, "-m", "vertiform.cli.main", verb, "--help"]
    seconds = []
    for _ in range(3):
        before = os.times()
        shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        after = os.times()
        seconds.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert VERBS[verb].split(",")[0] in " ".join(shown.stdout.split())
    assert min(seconds) < 0.3


def test_each_verb_has_its_module():
    for verb in VERBS:
        assert (ROOT / "src/vertiform/cli" / f"{MODULES.get(verb, verb)}.py").exists()


def test_torchvision_is_absent():
    """Where it is, importing lightning on CPU torch fails while `pip check` stays clean."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "torchvision" not in lock


def test_the_lock_names_versions_and_no_place():
    assert "://" not in (ROOT / "requirements.lock").read_text()
