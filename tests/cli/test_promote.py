"""The doors through which aliases move, on a real store of the test's own."""

import json
import shutil
from pathlib import Path

import pytest

from tests.tracking.conftest import empty_database, store  # noqa: F401 - fixtures
from tests.tracking.examples import promoted, registered
from vertiform.cli.main import main
from vertiform.tracking.ledger import read_chain
from vertiform.tracking.registry import aliases_of
from vertiform.tracking.store import DATABASE, open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(store, tmp_path, monkeypatch):  # noqa: F811
    """A project whose model has two versions; the second stands at staging."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "conf", root / "conf")
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, root)
    for weights in (b"first", b"second"):
        promoted(store, registered(store, tmp_path, weights=weights))
    monkeypatch.chdir(root)
    return store


def ask(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return exit_.value.code


def rollback(reason: str = "too slow") -> int:
    return ask("rollback", "software-area@staging", "--reason", reason)


def test_rollback_gives_the_alias_back_and_history_tells_why(project, capsys):
    assert rollback() == 0
    assert "version 1 stands at `staging` again; version 2 is at" in capsys.readouterr().out
    assert aliases_of(project, "software-area")["staging"] == 1
    assert ask("history", "software-area") == 0
    shown = capsys.readouterr().out
    assert "rolled back" in shown
    assert "too slow" in shown


def test_rollback_tells_whom_conf_names(project, tmp_path):
    out = tmp_path / "told.json"
    conf = Path("conf/promote.yaml")
    assert "command: null" in conf.read_text()
    conf.write_text(conf.read_text().replace("command: null", f"command: tee {out}"))
    assert rollback() == 0
    assert json.loads(out.read_text())["action"] == "rolled back"


def test_history_that_holds_says_so_and_ends_with_0(project, capsys):
    assert ask("history", "software-area", "--verify") == 0
    assert "All 2 decisions, every alias and the files behind it hold." in capsys.readouterr().out


def test_history_that_does_not_hold_ends_with_1_and_its_fix(project, capsys):
    project.client.set_registered_model_alias("software-area", "staging", "1")
    assert ask("history", "software-area", "--verify") == 1
    assert "Fix: run `vertiform history software-area --repair`" in capsys.readouterr().out
    assert ask("history", "software-area", "--repair") == 0
    assert "is back at version 2" in capsys.readouterr().out
    assert aliases_of(project, "software-area")["staging"] == 2
    assert ask("history", "software-area", "--repair") == 0
    assert "Every alias of software-area stands where it should." in capsys.readouterr().out


def test_a_database_from_an_older_backup_stops_a_rollback_until_a_person_has_looked(
    project, capsys
):
    shutil.copy(DATABASE, "backup.db")
    assert rollback() == 0
    shutil.copy("backup.db", DATABASE)
    assert rollback() == 2
    said = capsys.readouterr().err
    assert "is older than what was seen from here" in said
    remembered = next(Path("runs/ledger").rglob("*.json"))
    assert f"delete {remembered.resolve()}" in said
    remembered.unlink()
    assert rollback() == 0
    restored = open_store(None, root=Path.cwd())
    assert len(read_chain(restored, "software-area").links) == 3


def test_force_without_a_reason_is_refused(project, capsys):
    assert ask("promote", "software-area", "--force") == 2
    assert 'add --reason "<why it has to be>"' in capsys.readouterr().err


def test_history_of_a_model_that_does_not_exist_is_two_lines_and_exit_code_2(project, capsys):
    assert ask("history", "sofware-area") == 2
    assert "did you mean `software-area`" in capsys.readouterr().err


def test_a_rollback_that_names_no_alias_is_told_how(project, capsys):
    assert ask("rollback", "software-area", "--reason", "too slow") == 2
    assert "Fix: write <model>@<alias>, such as software-area@staging." in capsys.readouterr().err
