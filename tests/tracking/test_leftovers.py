"""What lies beside MLflow: kept or not, with real git and DVC where those decide."""

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.records import command, commit, project_with_data
from tests.tracking.test_retention import a_run_of
from vertiform.errors import TrackingError
from vertiform.tracking import leftovers, retention
from vertiform.tracking.inventory import Inventory
from vertiform.tracking.leftovers import (
    Piece,
    committed_receipts,
    local_pieces,
    look_at_cache,
    remove_unused_cache,
)
from vertiform.tracking.recorded import dvc_digest
from vertiform.tracking.removal import remove_pieces
from vertiform.tracking.retention import Policy, Retained

DAY = 86_400.0
POLICY = Policy(keep_days=30, removes_versions=False, now=time.time())
RUN_ID = "f" * 32


def retained(*runs) -> Retained:
    return Retained(
        {run.id: retention.ALIAS for run in runs},
        {},
        Inventory({run.id: run for run in runs}, {}, {}),
    )


def written(path: Path, text: str = "x", *, days_ago: float = 100) -> Path:
    """Write a file, as if it had been there for long; returns its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - days_ago * DAY
    for place in (path, path.parent):
        os.utime(place, (then, then))
    return path.parent


def why(project: Path, *runs) -> dict[str, str]:
    pieces = local_pieces(project, retained(*runs), POLICY)
    return {piece.path.relative_to(project).as_posix(): piece.kept for piece in pieces}


def journal(folder: Path, *, days_ago: float = 100, **state) -> None:
    written(folder / "journal.lines", "12345", days_ago=days_ago)
    shipped = {"is_ended": True, "position": 5, "refused": 0, "trouble": ""} | state
    written(folder / "shipped.json", json.dumps(shipped), days_ago=days_ago)


def test_an_old_checkpoint_goes_and_a_young_one_stays(tmp_path):
    written(tmp_path / "checkpoints/old/weights")
    written(tmp_path / "checkpoints/new/weights", days_ago=1)
    written(tmp_path / "checkpoints/starts/fetched/weights")
    assert why(tmp_path) == {
        "checkpoints/old": "",
        "checkpoints/new": retention.YOUNG,
        "checkpoints/starts/fetched": "",
    }


def test_a_checkpoint_written_since_a_run_began_that_has_not_ended_stays(tmp_path):
    written(tmp_path / "checkpoints/long/weights", days_ago=50)
    run = replace(a_run_of("a", status="RUNNING"), started=time.time() - 60 * DAY)
    assert why(tmp_path, run) == {"checkpoints/long": leftovers.STILL_RUNNING}


def test_a_model_trained_by_hand_stays_while_a_kept_run_says_that_it_read_it(tmp_path):
    written(tmp_path / "runs/pretrain/aaaa/model.safetensors")
    written(tmp_path / "runs/pretrain/bbbb/model.safetensors")
    written(tmp_path / "runs/finetune/cccc/model.safetensors")
    by_param = replace(a_run_of("a"), params={"start.weights": "runs/pretrain/aaaa"})
    by_tag = replace(a_run_of("b"), tags={"data.runs/finetune/cccc": "0"})
    assert why(tmp_path, by_param, by_tag) == {
        "runs/pretrain/aaaa": leftovers.NAMED_BY_RUN,
        "runs/pretrain/bbbb": "",
        "runs/finetune/cccc": leftovers.NAMED_BY_RUN,
    }


def test_only_a_journal_that_mlflow_has_whole_goes(tmp_path):
    journals = tmp_path / "runs/journals"
    journal(journals / "whole")
    journal(journals / "young", days_ago=1)
    journal(journals / "behind", position=4)
    journal(journals / "open", is_ended=False)
    journal(journals / "refused", refused=1)
    journal(journals / "troubled", trouble="the disk is full")
    written(journals / "unknown/journal.lines")
    written(journals / "torn/shipped.json", '{"is_ended": true, "posi')
    found = {Path(path).name: kept for path, kept in why(tmp_path).items()}
    assert found.pop("whole") == ""
    assert found.pop("young") == retention.YOUNG
    assert set(found.values()) == {leftovers.UNSHIPPED}
    assert len(found) == 6


def test_a_sweep_goes_whole_once_nobody_gave_it_a_trial_for_long(tmp_path):
    written(tmp_path / "runs/sweeps/old/journal.lines")
    written(tmp_path / "runs/sweeps/young/trials/0000/log.txt")
    written(tmp_path / "runs/sweeps/young/journal.lines", days_ago=1)
    assert why(tmp_path) == {"runs/sweeps/old": "", "runs/sweeps/young": retention.YOUNG}


def test_an_old_page_that_compares_runs_goes(tmp_path):
    written(tmp_path / "runs/compare/page.html")
    assert why(tmp_path) == {"runs/compare/page.html": ""}


def test_pieces_are_removed_and_a_second_time_is_no_error(tmp_path):
    folder = written(tmp_path / "checkpoints/old/weights")
    page = tmp_path / "page.html"
    page.write_text("x")
    pieces = [Piece("checkpoints", folder, 1, ""), Piece("compare pages", page, 1, "")]
    remove_pieces(pieces)
    remove_pieces(pieces)
    assert not folder.exists()
    assert not page.exists()


# With git and DVC.


@pytest.fixture
def project(tmp_path) -> Path:
    return project_with_data(tmp_path / "project")


def cached(project: Path, text: str) -> str:
    """Put a folder with one file into DVC's cache as `dvc commit` would; returns its digest."""
    folder = project / "aside" / hashlib.md5(text.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "text").write_text(text)
    digest = dvc_digest(folder)
    md5 = hashlib.md5(text.encode()).hexdigest()
    listing = json.dumps([{"md5": md5, "relpath": "text"}])
    assert hashlib.md5(listing.encode()).hexdigest() + ".dir" == digest
    for name, content in ((md5, text), (digest, listing)):
        place = project / ".dvc/cache/files/md5" / name[:2] / name[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return digest


def is_cached(project: Path, digest: str) -> bool:
    listing = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    if not listing.exists():
        return False
    files = [entry["md5"] for entry in json.loads(listing.read_text())]
    return all((listing.parents[1] / md5[:2] / md5[2:]).exists() for md5 in files)


def run_that_read(digest: str, *, at: str = "no git"):
    return a_run_of("a", **{"data.data/notes": digest, "mlflow.source.git.commit": at})


@pytest.mark.slow
def test_data_that_a_kept_run_read_stays_and_other_data_goes(project):
    """Both were never in any dvc.lock that git knows."""
    needed, useless = cached(project, "needed"), cached(project, "useless")
    kept = retained(run_that_read(needed))
    found = look_at_cache(project, kept)
    assert len(found.unused) == 2  # the list of its files, and its file
    assert found.kept == leftovers.IN_USE
    assert len(found.needed) == 4
    assert is_cached(project, useless)  # so far it was only looked at
    remove_unused_cache(project, kept)
    assert is_cached(project, needed)
    assert not is_cached(project, useless)
    assert look_at_cache(project, kept).unused == ()
    assert is_cached(project, dvc_digest(project / "data/notes"))  # the workspace's own


@pytest.mark.slow
def test_data_of_the_commit_of_a_kept_run_stays_when_no_branch_leads_there(project):
    then = dvc_digest(project / "data/notes")
    at = commit(project)  # with dvc.lock
    (project / "code.py").write_text("print('two')\n")
    command(project, "dvc", "repro", "-q", "label")
    commit(project)
    branch = command(project, "git", "branch", "--show-current").strip()
    command(project, "git", "checkout", "-q", "--orphan", "new")
    commit(project)
    command(project, "git", "branch", "-q", "-D", branch)
    remove_unused_cache(project, retained(run_that_read("0", at=at)))
    assert is_cached(project, then)
    remove_unused_cache(project, retained())
    assert not is_cached(project, then)


@pytest.mark.slow
def test_a_commit_that_is_not_known_here_keeps_the_whole_cache(project):
    cached(project, "useless")
    found = look_at_cache(project, retained(run_that_read("0", at="c0ffee" + "0" * 34)))
    assert found.unused == ()
    assert "c0ffee000000 is not known here: run `git fetch" in found.kept


@pytest.mark.slow
def test_a_cache_outside_the_project_is_left_alone(project, tmp_path):
    config = f"[cache]\n    dir = {tmp_path / 'shared'}\n"
    (project / ".dvc/config.local").write_text(config)
    assert "other projects may keep data" in look_at_cache(project, retained()).kept


@pytest.mark.slow
def test_what_dvc_says_when_it_cannot_is_passed_on(tmp_path):
    with pytest.raises(TrackingError, match=r"`dvc cache` failed .*\n.*nothing .* was removed"):
        look_at_cache(tmp_path, retained())


@pytest.mark.slow
def test_receipts_count_at_every_branch_and_in_the_workspace(project):
    reports = project / "reports/tiny"
    reports.mkdir(parents=True)
    (reports / "a.json").write_text(json.dumps({"run_id": "a" * 32, "model": "m", "version": 1}))
    commit(project)
    command(project, "git", "branch", "other")
    (reports / "a.json").write_text(json.dumps({"run_id": "b" * 32}))
    commit(project)
    decided = {"model": "m", "before": 3, "version": 4, "sha": "d" * 64}
    (reports / "b.json").write_text(json.dumps(decided))
    found = committed_receipts(project)
    assert found.runs == {"a" * 32, "b" * 32}
    assert found.versions == {"models:/m/1", "models:/m/3", "models:/m/4"}


def test_without_git_the_receipts_of_the_workspace_count(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/a.json").write_text(json.dumps({"run_id": RUN_ID}))
    assert committed_receipts(tmp_path).runs == {RUN_ID}
