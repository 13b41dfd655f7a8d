"""Bugs to plant, one at a time, in a copy of the code; and the tests that must not pass then.

A sync that is dropped cannot be seen by killing a process, as the system keeps what it was given:
those tests watch the calls. All others are seen in what comes out.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src"
FILES = "tests/test_files.py"
JOURNAL = "tests/tracking/test_journal.py"
SHIPPING = "tests/tracking/test_shipping.py"
REGISTRY = "tests/tracking/test_registry.py"
MOVES = "tests/tracking/test_moves.py"
HISTORY = "tests/tracking/test_history.py"


@dataclass(frozen=True)
class Bug:
    """A mistake that someone could make: `found` in the file becomes `planted`."""

    name: str
    file: str  # below src/vertiform
    found: str
    planted: str
    caught_by: str  # a test, as pytest names it


BUGS = (
    Bug(
        "the journal is never synced",
        "tracking/journal.py",
        "`close` tells\n                    sync_data(self._file)\n",
        "`close` tells\n                    pass\n",
        f"{JOURNAL}::test_a_journal_is_on_the_disk_within_a_second",
    ),
    Bug(
        "a checkpoint does not wait for the journal's sync",
        "tracking/journal.py",
        '"no space left"))\n        sync_data(self._file)\n',
        '"no space left"))\n',
        f"{JOURNAL}::test_who_saves_a_checkpoint_has_all_that_was_logged_on_the_disk_first",
    ),
    Bug(
        "a file gets its name before it is synced",
        "files.py",
        "                file.flush()\n                os.fsync(file.fileno())\n",
        "                file.flush()\n",
        f"{FILES}::test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_is_too",
    ),
    Bug(
        "the folder of a renamed file is not synced",
        "files.py",
        "        os.fsync(descriptor)\n",
        "        pass\n",
        f"{FILES}::test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_is_too",
    ),
    Bug(
        "a file is written under its own name, without a rename",
        "files.py",
        'tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)\n        try:',
        "(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), str(path))\n        try:",
        f"{FILES}::test_a_file_whose_writing_failed_is_what_it_was_before",
    ),
    Bug(
        "a line torn by a crash is not cut",
        "tracking/journal.py",
        "        os.ftruncate(file, size)\n",
        "",
        f"{JOURNAL}::test_a_line_that_a_crash_left_half_written_is_cut_and_the_rest_kept",
    ),
    Bug(
        "the checksum of a line is not checked",
        "tracking/journal_lines.py",
        'b" " and stated == crc32(rest)',
        'b" " and crc32(rest) + stated >= 0',
        f"{JOURNAL}::test_a_line_with_more_damage_is_seen_and_the_others_are_read",
    ),
    Bug(
        "steps repeated after a crash are logged again",
        "tracking/journal.py",
        "        if self.past.steps:\n",
        "        if not self.folder:\n",
        f"{JOURNAL}::test_steps_that_are_repeated_after_a_crash_leave_one_value",
    ),
    Bug(
        "time goes back with the clock",
        "tracking/journal.py",
        "max(self._last_ms, time.time_ns() // 1_000_000)",
        "time.time_ns() // 1_000_000",
        f"{JOURNAL}::test_time_never_goes_back_though_the_clock_does",
    ),
    Bug(
        "lines are dropped while the disk is full",
        "tracking/journal.py",
        "                *(self.folder, trouble),\n            )\n            self._hold(line)\n",
        "                *(self.folder, trouble),\n            )\n",
        f"{JOURNAL}::test_a_disk_that_is_full_for_a_while_loses_nothing",
    ),
    Bug(
        "two processes may write one journal",
        "tracking/journal.py",
        "        if lock.acquire():\n            return lock\n",
        "        lock.acquire()\n        return lock\n",
        f"{JOURNAL}::test_two_processes_cannot_write_one_journal_and_the_second_is_told_who",
    ),
    Bug(
        "the timestamp is taken at sending",
        "tracking/shipping.py",
        "Metric(name, value, points.time_ms, points.step)",
        "Metric(name, value, int(time.time() * 1000), points.step)",
        f"{SHIPPING}::test_time_is_fixed_when_a_point_comes_in_and_not_when_it_is_sent",
    ),
    Bug(
        "the position is noted before the points are sent",
        "tracking/shipping.py",
        "            self._send(metrics)\n            metrics = []\n",
        "            self._advance(line.end)\n            self._send(metrics)\n"
        "            metrics = []\n",
        f"{SHIPPING}::test_calls_that_fail_before_or_after_they_worked_lose_and_double_nothing",
    ),
    Bug(
        "a run whose creation was not answered is created again",
        "tracking/shipping.py",
        "found = records.created_before(self._store, record) if self.state.is_creating else None",
        "found = None",
        f"{SHIPPING}::test_a_run_whose_creation_was_not_answered_is_found_again",
    ),
    Bug(
        "a run taken up again becomes another run",
        "tracking/runs.py",
        "    number = 1\n    while _has_finished(",
        "    number = 1\n    while (journals / f'{short}-{number}').exists() or _has_finished(",
        f"{SHIPPING}::test_a_run_that_is_taken_up_again_is_the_same_run_with_one_value_a_step",
    ),
    Bug(
        "the run of a process that died is left RUNNING",
        "tracking/shipping.py",
        "        if is_gone:\n            self._end_for_owner()\n",
        "        if is_gone:\n            self._note(is_ended=True)\n",
        f"{SHIPPING}::test_the_run_of_a_process_that_died_is_killed_at_its_last_sign",
    ),
    Bug(
        "another owner of the run is not asked for",
        "tracking/owner.py",
        "        other = other_owner(self._store, run_id, ours=ours_of(self._names))\n",
        "        other = None\n",
        f"{SHIPPING}::test_copies_of_one_journal_on_two_machines_do_not_both_add_to_its_run",
    ),
    Bug(
        "a copy of a journal takes the run from its living owner",
        "tracking/claims.py",
        "    return [present, *(owner for owner in former if _is_surely_gone(owner, present))]\n",
        "    return [present, *former]\n",
        f"{SHIPPING}::test_a_former_owner_that_lives_is_not_followed",
    ),
    Bug(
        "points that MLflow refuses are dropped in silence",
        "tracking/shipping.py",
        'self._refuse(f"{point.key} = {point.value} at step {point.step}: {told}")\n',
        "pass\n",
        f"{SHIPPING}::test_points_that_mlflow_refuses_are_named_and_the_others_kept",
    ),
    Bug(
        "the list of files is written before the last of them",
        "tracking/packaging.py",
        "            _write_example(folder, example_inputs, example_predictions)\n"
        "            files_sha256 = write_file_list(folder)\n",
        "            files_sha256 = write_file_list(folder)\n"
        "            _write_example(folder, example_inputs, example_predictions)\n",
        f"{REGISTRY}::test_a_registered_model_is_a_candidate_with_its_proof_as_tags",
    ),
    Bug(
        "the hashes of a model's files are not checked",
        "tracking/model_files.py",
        "        if sha256_of(found[name]) != sha256:\n",
        "        if not sha256:\n",
        "tests/tracking/test_model_files.py"
        "::test_a_changed_file_is_named_with_the_command_that_rebuilds_it",
    ),
    Bug(
        "the list of files itself is believed",
        "tracking/model_files.py",
        "    if sha256_of(folder / FILES) != expected_sha256:\n",
        "    if not expected_sha256:\n",
        "tests/tracking/test_model_files.py::test_a_list_written_anew_over_changed_files_is_seen",
    ),
    Bug(
        "the alias `candidate` is set before the files are read back",
        "tracking/registry.py",
        "        with verified_files(store, version):\n            pass\n"
        "        set_alias(store, name, CANDIDATE, version.number)\n",
        "        set_alias(store, name, CANDIDATE, version.number)\n"
        "        with verified_files(store, version):\n            pass\n",
        f"{REGISTRY}::test_registering_files_that_changed_since_they_were_logged_gives_no_alias",
    ),
    Bug(
        "an alias moves before the ledger knows of it",
        "tracking/moves.py",
        "    grounds = standing.grounds(decision.alias)\n    while True:\n",
        "    grounds = standing.grounds(decision.alias)\n"
        "    set_alias(store, decision.model, decision.alias, decision.version)\n    while True:\n",
        f"{MOVES}::test_a_process_killed_at_any_step_leaves_the_old_version_or_the_new_one_whole",
    ),
    Bug(
        "an alias moves before its files are read back",
        "tracking/moves.py",
        "    with _withdrawn_on_error(store, entry):\n        with verified_files(",
        "    _set(store, entry)\n"
        "    with _withdrawn_on_error(store, entry):\n        with verified_files(",
        "tests/tracking/test_decisions.py"
        "::test_two_versions_whose_files_changed_are_refused_and_the_old_one_stays",
    ),
    Bug(
        "a lock is stolen without a fence",
        "tracking/moves.py",
        "        if later:\n            raise _overtaken(entry, later[-1])\n    _set(",
        "    _set(",
        f"{MOVES}::test_a_process_that_slept_past_its_lease_does_not_move_the_alias",
    ),
    Bug(
        "a late move is not taken back",
        "tracking/moves.py",
        "    _take_back_if_late(store, entry)\n\n\ndef repair(",
        "\n\ndef repair(",
        f"{MOVES}::test_a_process_that_slept_between_the_fence_and_the_move_takes_its_move_back",
    ),
    Bug(
        "a move is marked as done before it is",
        "tracking/moves.py",
        "    _set(store, entry)\n    mark(store, entry, APPLIED, _now())\n",
        "    mark(store, entry, APPLIED, _now())\n    _set(store, entry)\n",
        f"{MOVES}::test_a_process_killed_at_any_step_leaves_the_old_version_or_the_new_one_whole",
    ),
    Bug(
        "a decision goes on though another is in the middle of its move",
        "tracking/moves.py",
        "        if max(waits, default=0) <= 0:\n",
        "        if waits is not None:\n",
        f"{MOVES}::test_a_move_waits_for_one_that_is_in_the_middle",
    ),
    Bug(
        "decisions are linked by number alone",
        "tracking/chain.py",
        "            if head and decision.base_sha256 != head.sha256:\n",
        "            if head and not head.sha256:\n",
        f"{HISTORY}::test_an_entry_that_was_changed_no_longer_has_the_hash_that_the_next_one_carries",
    ),
    Bug(
        "receipts are not compared with the ledger",
        "tracking/history.py",
        "    return [*found, *_unknown_receipts(store, chain, root)]\n",
        "    return found\n",
        f"{HISTORY}::test_a_receipt_in_git_remembers_what_a_restored_database_does_not",
    ),
    Bug(
        "what was seen of the ledger before is forgotten",
        "tracking/history.py",
        "        check_remembered(root, store, chain)\n",
        "        pass\n",
        f"{HISTORY}::test_a_database_from_a_backup_older_than_the_last_promotion_is_noticed",
    ),
)


def plant(bug: Bug, folder: Path) -> Path:
    """Copy the code into `folder` with the bug in it; return what PYTHONPATH must name."""
    copy = folder / "src"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    path = copy / "vertiform" / bug.file
    text = path.read_text(encoding="utf-8")
    assert text.count(bug.found) == 1, f"{bug.file} holds this {text.count(bug.found)} times"
    path.write_text(text.replace(bug.found, bug.planted), encoding="utf-8")
    return copy


def ask(source: Path, tests: Sequence[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run tests against the code in `source`."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider"),
        *("-p", "no:xdist", f"--basetemp={folder / 'tests'}", *tests),
    ]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
