"""From the journal to MLflow: everything once, whatever breaks in between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.tracking.breakage import failing, killed_run
from tests.tracking.examples import a_run
from vertiform.files import write_json
from vertiform.tracking import records
from vertiform.tracking import shipped as shipped_state
from vertiform.tracking.claims import OWNER_TAG, SEEN_TAG, ours_of, signs_of
from vertiform.tracking.journal import LINES, OWNER, Journal
from vertiform.tracking.journal_lines import pack, points_line, record_line
from vertiform.tracking.locks import is_locked, this_process
from vertiform.tracking.shipped import NotYetError
from vertiform.tracking.shipper import journals_of, shipping_lock, unshipped
from vertiform.tracking.shipping import REFUSED, Shipment
from vertiform.tracking.store import store_at


def history(store, run_id, name="train/loss_nats"):
    return [(p.step, p.value) for p in store.client.get_metric_history(run_id, name)]


def shipped(shipment, *, tries=50):
    for _ in range(tries):
        try:
            shipment.ship(max_seconds=60, is_owner_gone=True)
        except NotYetError:
            continue
        if shipment.is_whole:
            return shipment.state
    raise AssertionError("it was not taken")


def test_every_point_arrives_once_in_batches_of_at_most_a_thousand(store):
    folder = killed_run(store, steps=2500)
    away = failing(store)
    state = shipped(Shipment(away, folder))
    assert history(store, state.run_id) == [(step, step / 7) for step in range(2500)]
    assert max(away.client.batches) == 1000


@pytest.mark.parametrize("faults", [{"before": 5}, {"after": 5}, {"before": 3, "after": 3}])
def test_calls_that_fail_before_or_after_they_worked_lose_and_double_nothing(store, faults):
    folder = killed_run(store, steps=1500)
    away = failing(store, **faults)
    state = shipped(Shipment(away, folder))
    assert (away.client.before, away.client.after) == (0, 0)
    assert history(store, state.run_id) == [(step, step / 7) for step in range(1500)]


def test_a_run_whose_creation_was_not_answered_is_found_again(store):
    folder = killed_run(store, steps=3)
    away = failing(store, after=2, on=("create_run",))
    state = shipped(Shipment(away, folder))
    experiment = store.client.get_experiment_by_name("software").experiment_id
    assert [r.info.run_id for r in store.client.search_runs([experiment])] == [state.run_id]
    assert away.client.after == 1  # the first creation was enough


def test_a_shipper_that_is_killed_and_forgets_how_far_it_was_sends_nothing_twice(store):
    folder = killed_run(store, steps=1500)
    state = shipped(Shipment(store, folder))
    (folder / shipped_state.SHIPPED).unlink()
    write_json(folder / shipped_state.SHIPPED, asdict(shipped_state.Shipped(run_id=state.run_id)))
    shipped(Shipment(store, folder))
    assert history(store, state.run_id) == [(step, step / 7) for step in range(1500)]


def test_time_is_fixed_when_a_point_comes_in_and_not_when_it_is_sent(store):
    folder = killed_run(store, steps=1)
    entered_ms = (folder / LINES).stat().st_mtime * 1000
    time.sleep(0.5)
    state = shipped(Shipment(store, folder))
    (point,) = store.client.get_metric_history(state.run_id, "train/loss_nats")
    assert abs(point.timestamp - entered_ms) < 250


def test_the_run_of_a_process_that_died_is_killed_at_its_last_sign(store):
    folder = killed_run(store, steps=3)
    state = shipped(Shipment(store, folder))
    run = store.client.get_run(state.run_id)
    assert run.info.status == "KILLED"
    assert "died without a word" in run.data.tags["vertiform.error"]
    assert abs(run.info.end_time - (folder / LINES).stat().st_mtime * 1000) < 1000


def test_a_run_that_is_taken_up_again_is_the_same_run_with_one_value_a_step(store):
    folder = killed_run(store, steps=10)
    state = shipped(Shipment(store, folder))
    with a_run(store, identity="one") as run:
        for step in range(6, 15):
            run.log_points({"train/loss_nats": step / 7}, step=step)
    assert run.id == state.run_id
    assert run.journal.folder == folder
    assert history(store, run.id) == [(step, step / 7) for step in range(15)]
    assert store.client.get_run(run.id).info.status == "FINISHED"


def test_the_same_run_again_after_it_has_finished_is_a_new_one(store):
    with a_run(store, identity="one") as first:
        pass
    with a_run(store, identity="one") as second:
        pass
    assert first.id != second.id


def test_points_that_mlflow_refuses_are_named_and_the_others_kept(store):
    folder = killed_run(store, steps=20)
    with (folder / LINES).open("ab") as lines:
        lines.write(record_line({"kind": "names", "group": 9, "names": ["bad//name", "good"]}))
        lines.write(points_line(9, 3, 1_700_000_000_000, pack([1.0, 2.0])))
    state = shipped(Shipment(store, folder))
    assert len(history(store, state.run_id)) == 20
    assert history(store, state.run_id, "good") == [(3, 2.0)]
    assert state.refused == 1
    assert "bad//name = 1.0 at step 3" in (folder / REFUSED).read_text()


def test_a_record_that_mlflow_refuses_is_named_and_said_at_the_end(store, caplog):
    with a_run(store, config={"lr": 1}) as run:
        run.journal.append("params", params={"lr": "2"})  # MLflow keeps the first
    assert store.client.get_run(run.id).data.params == {"lr": "1"}
    assert "MLflow refused 1 values or records of the run `area from scratch`" in caplog.text


def test_a_damaged_line_is_named_and_the_others_arrive(store, caplog):
    folder = killed_run(store, steps=10)
    lines = (folder / LINES).read_bytes().splitlines(keepends=True)
    lines[-3] = lines[-3][:12] + b"????" + lines[-3][16:]
    (folder / LINES).write_bytes(b"".join(lines))
    state = shipped(Shipment(store, folder))
    assert [step for step, _ in history(store, state.run_id)] == [*range(7), 8, 9]
    assert state.refused == 1
    assert "damaged line at byte" in (folder / REFUSED).read_text()
    assert "is not in MLflow and never will be" in caplog.text


def test_a_child_waits_for_its_parent(store):
    parent = killed_run(store, steps=1)
    child = parent.parent / "child"
    journal = Journal(child)
    journal.append(
        "create",
        key="a",
        owner="b",
        store=store.name,
        experiment="software",
        name="child",
        parent=parent.name,
        tags={},
    )
    with pytest.raises(NotYetError, match="its parent run is not there yet"):
        Shipment(store, child).ship(max_seconds=5)
    parent_id = shipped(Shipment(store, parent)).run_id
    journal.append("end", status="FINISHED")
    journal.close()
    tags = store.client.get_run(shipped(Shipment(store, child)).run_id).data.tags
    assert tags["mlflow.parentRunId"] == parent_id


def test_an_artifact_arrives_whole_or_not_at_all(store, monkeypatch):
    real = records.put_artifact

    def half(store, run, file, name, *, sha256):
        if name == "note.md":
            raise OSError(28, "No space left on device")
        real(store, run, file, name, sha256=sha256)

    monkeypatch.setattr(records, "put_artifact", half)
    monkeypatch.setattr("vertiform.tracking.following.SECONDS_IN_TROUBLE", 0.1)
    with a_run(store) as run:
        run.log_text("a text", "first.txt")
        run.note("# A note")
    listed = {file.path for file in store.client.list_artifacts(run.id)}
    assert "note.md" not in listed
    monkeypatch.undo()
    shipped(Shipment(store, run.journal.folder))
    assert "note.md" in {file.path for file in store.client.list_artifacts(run.id)}


def test_only_one_process_ships_and_it_stops_when_its_lock_is_removed(store):
    journals = journals_of(store.root)
    lock, other = shipping_lock(journals, store), shipping_lock(journals, store)
    assert lock.acquire()
    assert not other.acquire()
    assert lock.is_in_place()
    (path,) = journals.glob(".shipper-*.lock")
    path.unlink()
    assert not lock.is_in_place()
    lock.release()


def test_a_journal_for_another_store_is_left_alone(store):
    folder = journals_of(store.root) / "other"
    folder.mkdir(parents=True)
    record = {"kind": "create", "store": "http://elsewhere", "time_ms": 1}
    (folder / LINES).write_bytes(record_line(record))
    assert unshipped(journals_of(store.root), store.name) == []
    assert unshipped(journals_of(store.root), "http://elsewhere") == [folder]


def test_copies_of_one_journal_on_two_machines_do_not_both_add_to_its_run(store, tmp_path):
    """The copy is taken up while the first process lives: what it logs is held back, and said."""
    with a_run(store, identity="one") as run:
        run.log_points({"train/loss_nats": 0.0}, step=0)
        Shipment(store, run.journal.folder).ship(max_seconds=5)
        elsewhere = store_at(store.uri, root=tmp_path / "elsewhere")
        copy = journals_of(elsewhere.root) / run.journal_name
        shutil.copytree(run.journal.folder, copy)
        journal = Journal(copy)
        journal.append("resumed", store=store.name, owner="process 7 on moon since today")
        journal.append_points({"train/loss_nats": 1.0}, step=1)
        journal.close()
        (copy / OWNER).write_text('{"host": "moon", "pid": 7, "since": "today"}')
        for tag, value in signs_of("process 5 on earth since yesterday").items():
            store.client.set_tag(run.id, tag, value)
        with pytest.raises(NotYetError, match="is going on elsewhere, by process 5 on earth"):
            Shipment(elsewhere, copy).ship(max_seconds=5)
        store.client.set_tag(run.id, SEEN_TAG, str(int(time.time()) - 100))  # silent since
        Shipment(elsewhere, copy).ship(max_seconds=5, is_owner_gone=False)
        tags = store.client.get_run(run.id).data.tags
        assert tags[OWNER_TAG] == "process 7 on moon since today"
    assert history(store, run.id) == [(0, 0.0), (1, 1.0)]


def test_a_former_owner_that_lives_is_not_followed():
    """It may have the journal that this one is a copy of: its silence is waited for."""
    host = this_process().host
    present, other = str(this_process()), subprocess.Popen(["sleep", "60"])
    lives = f"process {other.pid} on {host} since today"
    elsewhere = f"process {other.pid} on moon since today"
    before = f"process {os.getpid()} on {host} since yesterday"  # this one, in an earlier run
    try:
        assert ours_of([lives, elsewhere, before, present]) == [present, before]
    finally:
        other.kill()
        other.wait()
    assert ours_of([lives, present]) == [present, lives]


IN_BACKGROUND = """
import os, signal, sys, time
from pathlib import Path
from tests.tracking.examples import a_run
from vertiform.tracking.store import store_at
store = store_at(None, root=Path(sys.argv[1]))
with a_run(store, identity="one", in_background=True) as run:
    for step in range(2000):
        run.log_points({"train/loss_nats": step / 7}, step=step)
    if sys.argv[2] == "killed":
        print(run.id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
print(run.id, flush=True)
assert "mlflow" not in sys.modules  # another process has it, at no cost to this one
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "state"), [("ended", "FINISHED"), ("killed", "KILLED")])
def test_the_shippers_process_brings_all_and_the_true_state(store, how, state):
    command = [sys.executable, "-c", IN_BACKGROUND, str(store.root), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if how == "killed" else 0), done.stderr
    run_id = done.stdout.split()[0]
    deadline = time.monotonic() + 60  # within a minute no run is RUNNING without a living owner
    while store.client.get_run(run_id).info.status == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert store.client.get_run(run_id).info.status == state
    assert history(store, run_id) == [(step, step / 7) for step in range(2000)]
    journals = journals_of(store.root)
    (lock,) = journals.glob(".shipper-*.lock")
    while is_locked(lock):  # it ends by itself
        assert time.monotonic() < deadline + 60
        time.sleep(0.2)
    assert not is_locked(next(journals.glob(f"one-*/{OWNER}")))


@pytest.mark.slow
def test_a_shipper_that_dies_is_started_again_by_who_trains(store):
    journals = journals_of(store.root)
    with a_run(store, in_background=True) as run:
        _ = run.id
        for _ in range(2):
            (lock,) = journals.glob(".shipper-*.lock")
            from vertiform.tracking.locks import holder_of

            holder = holder_of(lock)
            assert holder is not None
            os.kill(holder.pid, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while not is_locked(lock) or holder_of(lock) == holder:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        run.log_points({"train/loss_nats": 1.0}, step=1)
    assert history(store, run.id) == [(1, 1.0)]


def test_where_a_journal_lies_is_below_the_project(store):
    assert journals_of(store.root) == Path(store.root) / "runs" / "journals"
