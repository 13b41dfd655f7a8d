"""The journal alone: what it promises before anything is sent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertiform.errors import StorageError, TrackingError
from vertiform.tracking import journal as journal_module
from vertiform.tracking.journal import LINES, Journal
from vertiform.tracking.journal_lines import (
    Damaged,
    Groups,
    Points,
    first_record,
    last_record,
    pack,
    points_line,
    read_lines,
    record_line,
    whole_bytes,
)

floats = st.floats(allow_nan=False, width=64)


def read(folder: Path, *, start: int = 0):
    return [line.content for line in read_lines(folder / LINES, start=start, groups=Groups())]


def points(folder: Path) -> list[tuple[str, int, float]]:
    return [
        (name, content.step, value)
        for content in read(folder)
        if isinstance(content, Points)
        for name, value in zip(content.names, content.values, strict=True)
    ]


@given(values=st.lists(floats, min_size=1, max_size=5), step=st.integers(0, 2**60))
@settings(max_examples=50, deadline=None)
def test_every_bit_of_a_value_comes_back(tmp_path_factory, values, step):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    journal.append_points({f"m{n}": value for n, value in enumerate(values)}, step=step)
    journal.close()
    assert points(folder) == [(f"m{n}", step, value) for n, value in enumerate(values)]


def test_values_that_are_no_numbers_come_back_as_such(tmp_path):
    journal = Journal(tmp_path)
    journal.append_points({"a": float("nan"), "b": float("inf"), "c": float("-inf")}, step=1)
    journal.close()
    (_, _, a), (_, _, b), (_, _, c) = points(tmp_path)
    assert (str(a), b, c) == ("nan", float("inf"), float("-inf"))


def test_a_name_that_mlflow_refuses_is_kept_as_it_will_stand_there(tmp_path):
    journal = Journal(tmp_path)
    journal.append_points({"f1/C++": 0.5}, step=1)
    journal.close()
    assert points(tmp_path) == [("f1/C_2b__2b_", 1, 0.5)]


def test_a_line_that_a_crash_left_half_written_is_cut_and_the_rest_kept(tmp_path):
    journal = Journal(tmp_path)
    journal.append_points({"a": 1.0}, step=1)
    journal.close()
    whole = (tmp_path / LINES).read_bytes()
    for cut in (1, 10, 25):
        (tmp_path / LINES).write_bytes(whole + whole.splitlines(keepends=True)[-1][:-cut])
        again = Journal(tmp_path)
        again.append_points({"a": 2.0}, step=2)
        again.close()
        assert points(tmp_path) == [("a", 1, 1.0), ("a", 2, 2.0)]
        (tmp_path / LINES).write_bytes(whole)


def test_a_reader_leaves_the_line_that_is_being_written(tmp_path):
    line = record_line({"kind": "tags", "tags": {}})
    (tmp_path / LINES).write_bytes(line + line[:-5])
    assert len(read(tmp_path)) == 1
    assert whole_bytes(tmp_path / LINES) == len(line)


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_one_flipped_bit_is_put_right(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("journal")
    names = record_line({"kind": "names", "group": 0, "names": ["a", "b"]})
    line = bytearray(points_line(0, 7, 99, pack([0.1, 0.2])))
    place %= len(line) - 1
    line[place] ^= 1 << bit
    if line[place] == ord("\n"):
        return  # two lines then, of which neither is whole
    (folder / LINES).write_bytes(names + bytes(line))
    assert read(folder)[1] == Points(7, 99, ("a", "b"), (0.1, 0.2))


def test_a_line_with_more_damage_is_seen_and_the_others_are_read(tmp_path):
    journal = Journal(tmp_path)
    for step in range(3):
        journal.append_points({"a": float(step)}, step=step)
    journal.close()
    lines = (tmp_path / LINES).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:12] + b"????" + lines[2][16:]
    (tmp_path / LINES).write_bytes(b"".join(lines))
    assert [type(content) for content in read(tmp_path)] == [dict, Points, Damaged, Points]


def test_steps_that_are_repeated_after_a_crash_leave_one_value(tmp_path):
    journal = Journal(tmp_path)
    for step in range(10):
        journal.append_points({"loss": step / 7, "speed": 1.0}, step=step)
    journal.close()
    again = Journal(tmp_path)
    for step in range(6, 13):
        again.append_points({"loss": step / 7, "speed": 2.0, "new": 0.0}, step=step)
    again.close()
    found = points(tmp_path)
    assert [p for p in found if p[0] == "loss"] == [("loss", s, s / 7) for s in range(13)]
    assert [s for n, s, _ in found if n == "speed"] == list(range(13))
    assert [s for n, s, _ in found if n == "new"] == list(range(6, 13))


def test_time_never_goes_back_though_the_clock_does(tmp_path, monkeypatch):
    clock = iter([2_000_000_000, 1_000_000_000, 3_000_000_000])
    journal = Journal(tmp_path)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    for step in range(3):
        journal.append_points({"a": 0.0}, step=step)
    monkeypatch.undo()
    journal.close()
    assert [c.time_ms for c in read(tmp_path) if isinstance(c, Points)] == [2000, 2000, 3000]


def test_two_processes_cannot_write_one_journal_and_the_second_is_told_who(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; "
        "from vertiform.tracking.journal import Journal; "
        f"journal = Journal(Path({str(tmp_path)!r})); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TrackingError, match=rf"process {other.pid} on .* writes") as error:
            Journal(tmp_path)
        assert "wait for it or end it" in error.value.fix
    finally:
        other.kill()
        other.wait()
    Journal(tmp_path).close()  # the lock died with its holder


def test_one_process_cannot_open_a_journal_twice(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(TrackingError, match="This run is going on already"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_journal_that_is_full_says_so_once_counts_and_keeps_what_is_no_point(tmp_path, caplog):
    journal = Journal(tmp_path, max_bytes=2000)
    for step in range(100):
        journal.append_points({"a": 1.0}, step=step)
    journal.append("end", status="FINISHED")
    kept = len(points(tmp_path))
    with pytest.raises(StorageError, match=f"{100 - kept} lines of the journal .* no room"):
        journal.close()
    assert 10 < kept < 100
    assert caplog.text.count("takes no more") == 1
    assert last_record(tmp_path / LINES)["status"] == "FINISHED"


def test_a_place_that_cannot_be_written_is_said_with_its_fix():
    with pytest.raises(StorageError, match=r"The journal /proc/none cannot be written"):
        Journal(Path("/proc/none"))


KILLED_WHILE_LOGGING = """
import sys
from pathlib import Path
from vertiform.tracking.journal import Journal
journal = Journal(Path(sys.argv[1]))
step = 0
while True:
    journal.append_points({"a": step / 3}, step=step)
    print(step, flush=True)  # only after the call has returned
    step += 1
"""


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3])
def test_what_was_logged_before_a_sigkill_is_there(tmp_path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_LOGGING, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split()
    last_said = int(said[-1]) if said else 0
    assert process.wait() == -signal.SIGKILL
    found = points(tmp_path)
    assert found[: last_said + 1] == [("a", step, step / 3) for step in range(last_said + 1)]


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from vertiform.tracking.journal import Journal
journal = Journal(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
for step in range(200):
    journal.append_points({"a": float(step)}, step=step)
before = Path(sys.argv[1], "journal.lines").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.sync()
journal.close()
print(json.dumps(before))
"""


def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) <= 4000  # the limit was met
    assert points(tmp_path) == [("a", step, float(step)) for step in range(200)]
    assert done.stderr.count("Training goes on; what is logged is held in memory") == 1
    assert done.stderr.count("is written again; nothing is lost") == 1


def test_a_journal_is_on_the_disk_within_a_second(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(time.monotonic()))
    journal = Journal(tmp_path)
    journal.append_points({"a": 1.0}, step=1)
    logged = time.monotonic()
    while not synced:
        assert time.monotonic() - logged < 5
        time.sleep(0.01)
    assert synced[0] - logged < 1.0
    journal.close()


def test_who_saves_a_checkpoint_has_all_that_was_logged_on_the_disk_first(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "SECONDS_BETWEEN_SYNCS", 3600)
    journal = Journal(tmp_path)
    journal.append_points({"a": 1.0}, step=1)
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(file) or real(file))
    journal.sync()
    assert len(synced) == 1
    journal.close()


def test_files_are_copied_before_the_call_returns(tmp_path):
    source = tmp_path / "plot.png"
    source.write_bytes(b"first")
    journal = Journal(tmp_path / "journal")
    journal.append_file(source, "plots/plot.png")
    source.write_bytes(b"second")
    journal.close()
    record = last_record(tmp_path / "journal" / LINES)
    assert (tmp_path / "journal" / "files" / record["spooled"]).read_bytes() == b"first"


def test_the_first_and_the_last_record_are_found_without_reading_all(tmp_path):
    journal = Journal(tmp_path)
    assert first_record(tmp_path / LINES) == last_record(tmp_path / LINES) == {}
    journal.append("create", name="a")
    journal.append("end", status="FAILED")
    journal.close()
    assert first_record(tmp_path / LINES)["name"] == "a"
    assert last_record(tmp_path / LINES)["status"] == "FAILED"
