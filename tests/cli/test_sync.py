"""vertiform sync, on real journals: what it sends, what it says, and what it cannot send."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.tracking.breakage import killed_run
from tests.tracking.examples import a_run
from vertiform.tracking.shipped import read_shipped
from vertiform.tracking.store import DATABASE, open_store

STEPS = 5


@pytest.fixture
def sync(door):
    """Run the verb; give its exit code, what it printed, and its errors."""
    return partial(door, "sync")


def points_of(run_id: str) -> list[int]:
    """The steps of a run's points, as the store holds them now."""
    store = open_store(None, root=Path.cwd())
    return [point.step for point in store.client.get_metric_history(run_id, "train/loss_nats")]


def put_back(backup: str) -> None:
    """Put an older database in the place of the present one."""
    shutil.copy(backup, DATABASE)


def test_nothing_to_send_is_said(sync):
    assert sync() == (0, "There is nothing to send.\n", "")


def test_a_killed_run_is_sent_and_ended(project, sync):
    folder = killed_run(project, steps=STEPS)
    code, shown, _ = sync()
    run_id = read_shipped(folder).run_id
    assert code == 0
    assert f"run {run_id}, ended" in shown
    assert project.client.get_run(run_id).info.status == "KILLED"
    assert points_of(run_id) == list(range(STEPS))
    assert sync()[1] == "There is nothing to send.\n"


def test_a_store_that_is_away_is_two_lines_and_exit_code_2(project, sync, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    code, shown, error = sync("--tracking", "server")
    assert (code, shown) == (2, "")
    assert "cannot be reached" in error
    assert "Fix: start the server" in error


def test_a_folder_that_is_no_journal_is_refused(tmp_path, sync):
    code, _, error = sync(tmp_path)
    assert code == 2
    assert "is no journal" in error
    assert "below runs/journals" in error


def test_again_brings_every_point_back_once_after_a_backup_was_put_in_place(project, sync):
    folder = killed_run(project, steps=STEPS)
    sync()
    run_id = read_shipped(folder).run_id
    with closing(sqlite3.connect(DATABASE)) as database:  # a backup from before the points
        database.execute("DELETE FROM metrics")
        database.execute("DELETE FROM latest_metrics")
        database.commit()
    assert points_of(run_id) == []
    for _ in range(2):
        assert sync("--again")[0] == 0
        assert points_of(run_id) == list(range(STEPS))


def test_a_run_that_the_restored_store_does_not_know_is_sent_as_a_new_one(project, sync):
    shutil.copy(DATABASE, "backup.db")
    folder = killed_run(project, steps=STEPS)
    sync()
    lost = read_shipped(folder).run_id
    put_back("backup.db")
    code, _, error = sync("--again")
    assert code == 2
    assert f"has no run {lost}" in error
    assert f"Fix: `vertiform sync --anew {folder.resolve()}`" in error
    assert sync("--anew", folder)[0] == 0
    new = read_shipped(folder).run_id
    assert new != lost
    assert points_of(new) == list(range(STEPS))


def test_a_file_that_only_the_lost_run_had_is_named(project, sync, tmp_path):
    shutil.copy(DATABASE, "backup.db")
    (tmp_path / "picture.png").write_bytes(b"png")
    with a_run(project) as run:
        run.log_file(tmp_path / "picture.png")
    put_back("backup.db")
    code, shown, _ = sync("--anew", run.journal.folder)
    assert code == 0
    assert "picture.png stays with the old run" in shown


def test_a_run_that_the_store_knows_is_not_made_twice(project, sync):
    folder = killed_run(project, steps=STEPS)
    sync()
    code, _, error = sync("--anew", folder)
    assert code == 2
    assert "vertiform sync --again" in error


def test_anew_asks_which(sync):
    code, _, error = sync("--anew")
    assert code == 2
    assert "name the folders below runs/journals" in error
