"""A project with a real store and the real conf/, for doors that ask MLflow."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.conftest import empty_database, store  # noqa: F401  (fixtures, used by name)
from vertiform.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(store, tmp_path, monkeypatch):  # noqa: F811
    """The store of the project in which the test stands."""
    root = tmp_path / "project"
    (root / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(root)
    return store


@pytest.fixture
def conf(tmp_path, monkeypatch) -> Path:
    """A copy of conf/ to write into, in the folder in which the test stands."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf"


@pytest.fixture
def door(project, capsys):
    """Run a verb; give its exit code, what it printed, and its errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([*map(str, arguments)])
        shown = capsys.readouterr()
        return exit_.value.code, shown.out, shown.err

    return run
