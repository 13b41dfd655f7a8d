"""The first command on a fresh machine: what it says where something is missing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap():
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ended_with_two_lines(capsys) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("Error: ")
    assert lines[1].startswith("  Fix: ")
    return "\n".join(lines)


def test_without_git_it_says_so(tmp_path):
    ended = subprocess.run(
        [sys.executable, SCRIPT], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "Error: git is not installed." in ended.stderr
    assert "Fix: install it" in ended.stderr
    assert os.listdir(tmp_path) == []


def test_too_old_a_python_says_which_is_needed(bootstrap, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "OLDEST", (3, 99))
    with pytest.raises(SystemExit) as exit_:
        bootstrap.main()
    assert exit_.value.code == 2
    assert "is too old" in ended_with_two_lines(capsys)


def test_no_space_says_how_much_is_needed(bootstrap, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "NEEDED_GIGABYTES", 10**9)
    with pytest.raises(SystemExit) as exit_:
        bootstrap.main()
    assert exit_.value.code == 2
    assert "the environment needs" in ended_with_two_lines(capsys)


def test_a_failed_install_names_what_and_can_be_run_again(bootstrap, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command: 1)
    with pytest.raises(SystemExit) as exit_:
        bootstrap.install("torch", ["torch==0"])
    assert exit_.value.code == 2
    assert "pip could not install torch==0" in ended_with_two_lines(capsys)


def test_it_is_written_for_an_old_python():
    """No annotation, f-string or walrus: it has to run to be able to say that it cannot."""
    compile(SCRIPT.read_text(), "bootstrap.py", "exec", flags=0, dont_inherit=True)
    text = SCRIPT.read_text()
    assert 'f"' not in text
    assert "->" not in text
    assert ":=" not in text
