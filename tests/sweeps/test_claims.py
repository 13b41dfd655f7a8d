"""Claims by files: one living process a trial, and a dead one's trial is free at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vertiform.errors import StorageError
from vertiform.sweeps.claims import FileClaims

TAKES_THREE = """
import sys, time
from pathlib import Path
from vertiform.sweeps.claims import FileClaims
claims = FileClaims(Path(sys.argv[1]))
with claims.turn():
    claims.take(3)
    print("taken", flush=True)
    if sys.argv[2] == "in its turn":
        time.sleep(60)
time.sleep(60)
"""


def worker(folder: Path, where: str) -> subprocess.Popen:
    """Start a process that takes trial 3 and stays there; returns once it has it."""
    command = [sys.executable, "-c", TAKES_THREE, str(folder), where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


@pytest.mark.parametrize("where", ["in its turn", "between turns"])
def test_a_killed_workers_trial_and_turn_are_free_at_once(tmp_path, where):
    process = worker(tmp_path, where)
    claims = FileClaims(tmp_path)
    if where == "between turns":
        with claims.turn():
            assert not claims.is_orphan(3)
            assert not claims.take(3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with claims.turn():
        assert claims.is_orphan(3)
        assert claims.take(3)
        assert not claims.is_orphan(3)
    assert claims.holds(3)


def test_of_two_in_one_process_one_takes_a_trial(tmp_path):
    one, other = FileClaims(tmp_path), FileClaims(tmp_path)
    assert one.take(1)
    assert one.take(1)
    assert not other.take(1)
    assert not other.is_orphan(1)
    assert not other.holds(1)


def test_a_trial_that_was_let_go_is_an_orphan_and_leaves_no_file(tmp_path):
    one, other = FileClaims(tmp_path), FileClaims(tmp_path)
    one.take(1)
    with one.turn():
        one.drop(1)
    assert [path.name for path in tmp_path.iterdir()] == ["turn.lock"]
    assert not one.holds(1)
    assert other.is_orphan(1)
    assert other.take(1)
    one.drop(1)  # again: it is another's by now
    assert other.holds(1)


def test_closing_lets_go_of_every_trial(tmp_path):
    one, other = FileClaims(tmp_path), FileClaims(tmp_path)
    assert all(one.take(trial_id) for trial_id in range(3))
    one.close()
    assert all(other.take(trial_id) for trial_id in range(3))


def test_a_claim_whose_file_was_deleted_is_lost(tmp_path):
    claims = FileClaims(tmp_path)
    claims.take(1)
    (tmp_path / "1.lock").unlink()
    assert not claims.holds(1)


def test_locks_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "claims").write_text("not a folder")
    with pytest.raises(StorageError, match=r"locks of the sweep(?s:.)*right to write there"):
        FileClaims(tmp_path / "claims")
