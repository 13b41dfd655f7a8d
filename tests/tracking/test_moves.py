"""The protocol of a move, against real processes that are raced, stopped and killed."""

import json
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from tests.tracking.breakage import denying
from tests.tracking.examples import Shelf, promoted, registered
from tests.tracking.races import STEPS, Step, Stopped, promoting, race
from vertiform.errors import TrackingError
from vertiform.tracking import moves
from vertiform.tracking.chain import APPLIED, WITHDRAWN
from vertiform.tracking.decisions import rollback
from vertiform.tracking.history import history, outcome, verify
from vertiform.tracking.registry import aliases_of, resolve, verified_files

BEFORE_SET = Step("set_registered_model_alias", "staging")
AFTER_SET = Step("set_registered_model_alias", "staging", after=True)
NUM_RACERS = 50


@pytest.fixture
def short_lease(monkeypatch):
    monkeypatch.setattr(moves, "LEASE_SECONDS", 0.5)


@contextmanager
def alias_moves(shelf: Shelf):
    """Let the database itself write down where staging goes, as it goes there."""
    path = shelf.store.uri.removeprefix("sqlite:///")
    seen: list[int] = []
    when = f"NEW.name = '{shelf.name}' AND NEW.alias = 'staging'"
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
        database.execute("CREATE TABLE moved (number INTEGER PRIMARY KEY, version INTEGER)")
        for event in ("INSERT", "UPDATE"):
            database.execute(
                f"CREATE TRIGGER moved_{event} AFTER {event} ON registered_model_aliases "
                f"WHEN {when} BEGIN INSERT INTO moved (version) VALUES (NEW.version); END"
            )
        yield seen
        seen += [row[0] for row in database.execute("SELECT version FROM moved ORDER BY number")]
        for event in ("INSERT", "UPDATE"):
            database.execute(f"DROP TRIGGER moved_{event}")
        database.execute("DROP TABLE moved")


def stopped(shelf: Shelf, version: int, folder: Path, *steps: Step) -> Stopped:
    """A promotion that stopped itself at the first of the steps."""
    return Stopped(shelf.store.uri, promoting(shelf.name, version), folder, *steps)


def at_staging(shelf: Shelf) -> int:
    """The version at staging, whole."""
    version = resolve(shelf.store, f"{shelf.name}@staging")
    with verified_files(shelf.store, version):
        return version.number


@pytest.mark.slow
def test_fifty_processes_that_promote_at_once_make_one_chain_that_the_alias_follows(
    shelf, tmp_path
):
    versions = [shelf.next_version().number for _ in range(10)]
    asked = [versions[n % len(versions)] for n in range(NUM_RACERS)]
    with alias_moves(shelf) as seen:
        results = race(shelf.store.uri, shelf.name, asked, tmp_path)

    chain = history(shelf.store, shelf.name)
    carried_out = [entry for entry in chain.links if entry.is_applied]
    won = {result.entry for result in results if result.entry}
    assert won == {entry.number for entry in carried_out}
    told = [entry.decision.version for entry in carried_out]
    # A move to where the alias stands already changes no row.
    assert seen == [version for version, _ in groupby(told)], "an alias moved by itself"
    assert at_staging(shelf) == carried_out[-1].decision.version
    for before, entry in pairwise(carried_out):
        assert entry.decision.before == before.decision.version
        assert entry.decision.base_sha256 == before.sha256
    lost = [result for result in results if result.error]
    assert lost, "nobody came second: no race, no test"
    assert all("times others came first; the last: " in result.error for result in lost)
    assert len(won) + len(lost) == NUM_RACERS
    void = [entry for entry in chain.entries if entry not in chain.links]
    print(
        f"{len(won)} of {NUM_RACERS} moved, {len(lost)} were told who won, {len(void)} void entries"
    )
    assert verify(shelf.store, shelf.name, root=tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_process_killed_at_any_step_leaves_the_old_version_or_the_new_one_whole(
    shelf, tmp_path, short_lease, step
):
    shelf.promoted()
    shelf.promoted()
    new = shelf.next_version().number
    stopped(shelf, new, tmp_path, step).kill()
    stands = at_staging(shelf)
    was_set = STEPS.index(step) >= STEPS.index(AFTER_SET)
    assert stands == (new if was_set else 2)

    following = shelf.next_version()
    time.sleep(moves.LEASE_SECONDS)
    assert promoted(shelf.store, following).decision.before == stands
    assert at_staging(shelf) == following.number
    assert verify(shelf.store, shelf.name, root=tmp_path) == []
    assert rollback(shelf.store, shelf.name, "staging", reason="").decision.version == stands


def test_who_may_decide_but_not_move_the_alias_withdraws_and_nobody_waits(shelf, tmp_path):
    """A server lets somebody write the ledger, but not the model."""
    shelf.promoted()
    wanted = shelf.next_version()
    denied = denying(shelf.store, "set_registered_model_alias")
    with pytest.raises(TrackingError, match=r"does not let .* do this"):
        promoted(denied, wanted)
    assert denied.client.asked == ["set_registered_model_alias"]
    assert at_staging(shelf) == 1
    chain = history(shelf.store, shelf.name)
    assert [outcome(chain, entry) for entry in chain.entries] == ["moved", "withdrawn"]
    assert "does not let" in chain.entries[-1].marks[WITHDRAWN]
    started = time.monotonic()
    promoted(shelf.store, wanted)
    assert time.monotonic() - started < moves.LEASE_SECONDS / 2
    assert at_staging(shelf) == wanted.number
    assert verify(shelf.store, shelf.name, root=tmp_path) == []


@pytest.mark.parametrize("denied", ["create_registered_model", "create_model_version"])
def test_a_server_without_the_ledger_says_who_makes_it(store, tmp_path, monkeypatch, denied):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    version = registered(store, tmp_path)
    with pytest.raises(TrackingError, match=r"`vertiform-decisions`.*does not let ada") as error:
        promoted(denying(store, denied), version)
    assert "python -m scripts.server.accounts ada promote" in error.value.fix
    assert "staging" not in aliases_of(store, version.name)


@pytest.mark.slow
def test_a_move_that_was_begun_and_never_finished_is_told(shelf, tmp_path, short_lease):
    shelf.promoted()
    stopped(shelf, shelf.next_version().number, tmp_path, BEFORE_SET).kill()
    chain = history(shelf.store, shelf.name)
    assert [outcome(chain, entry) for entry in chain.entries] == ["moved", "begun, never finished"]
    (problem,) = verify(shelf.store, shelf.name, root=tmp_path)
    assert "Begun, never finished" in problem.problem


@pytest.mark.slow
def test_a_move_waits_for_one_that_is_in_the_middle(shelf, tmp_path):
    shelf.promoted()
    first, second = shelf.next_version(), shelf.next_version()
    sleeper = stopped(shelf, first.number, tmp_path, BEFORE_SET)
    waker = threading.Timer(0.5, sleeper.wake)
    waker.start()
    entry = promoted(shelf.store, second)
    waker.join()
    assert entry.decision.before == first.number
    assert at_staging(shelf) == second.number


@pytest.mark.slow
def test_a_process_that_slept_past_its_lease_does_not_move_the_alias(shelf, tmp_path, short_lease):
    shelf.promoted()
    late, other = shelf.next_version(), shelf.next_version()
    sleeper = stopped(shelf, late.number, tmp_path, Step("create_model_version", after=True))
    time.sleep(moves.LEASE_SECONDS)
    with alias_moves(shelf) as seen:
        promoted(shelf.store, other)
        error = sleeper.wake().error
    assert seen == [other.number]
    assert f"to version {other.number}" in error
    assert "was not finished within" in error
    chain = history(shelf.store, shelf.name)
    assert [outcome(chain, e) for e in chain.entries] == ["moved", "withdrawn", "moved"]
    assert verify(shelf.store, shelf.name, root=tmp_path) == []


@pytest.mark.slow
def test_a_process_that_slept_between_the_fence_and_the_move_takes_its_move_back(
    shelf, tmp_path, short_lease
):
    shelf.promoted()
    late, other = shelf.next_version(), shelf.next_version()
    sleeper = stopped(shelf, late.number, tmp_path, BEFORE_SET)
    time.sleep(moves.LEASE_SECONDS)
    with alias_moves(shelf) as seen:
        promoted(shelf.store, other)
        error = sleeper.wake().error
    assert seen == [other.number, late.number, other.number], "the window was not hit"
    assert f"to version {other.number}" in error
    assert verify(shelf.store, shelf.name, root=tmp_path) == []


@pytest.mark.slow
def test_what_that_process_leaves_if_it_dies_then_is_seen_and_put_right_by_the_next_decision(
    shelf, tmp_path, short_lease
):
    shelf.promoted()
    late, other = shelf.next_version(), shelf.next_version()
    sleeper = stopped(shelf, late.number, tmp_path, BEFORE_SET, AFTER_SET)
    time.sleep(moves.LEASE_SECONDS)
    promoted(shelf.store, other)
    sleeper.wake_to_next()
    sleeper.kill()
    assert at_staging(shelf) == late.number
    (problem,) = verify(shelf.store, shelf.name, root=tmp_path)
    assert f"stands at {late.number}, but the last decision gave it to version {other.number}" in (
        problem.problem
    )
    assert moves.repair(shelf.store, shelf.name)
    assert at_staging(shelf) == other.number
    assert verify(shelf.store, shelf.name, root=tmp_path) == []


def test_an_alias_that_was_set_by_hand_goes_back_with_the_next_decision(shelf, caplog):
    shelf.promoted()
    second = shelf.next_version()
    shelf.store.client.set_registered_model_alias(shelf.name, "staging", str(second.number))
    entry = promoted(shelf.store, second, passed=False)
    assert entry.decision.before == 1
    assert shelf.aliases["staging"] == 1
    assert "`staging` of" in caplog.text
    assert "is back at version 1, where the ledger says it stands" in caplog.text


def test_an_alias_whose_version_was_deleted_does_not_stop_the_next_promotion(shelf, caplog):
    first = shelf.promoted()
    shelf.store.client.delete_model_version(shelf.name, str(first.number))
    shelf.promoted()
    assert shelf.aliases["staging"] == 2
    assert "cannot go back to version 1" in caplog.text


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_a_lease(
    shelf, short_lease, monkeypatch
):
    begun = shelf.promoted()
    chain = history(shelf.store, shelf.name)
    shelf.store.client.delete_model_version_tag(
        "vertiform-decisions", str(chain.entries[0].number), APPLIED
    )
    monkeypatch.setattr(moves.time, "time", lambda: chain.entries[0].created - 86_400)
    started = time.monotonic()
    assert promoted(shelf.store, begun).decision.before == 1
    assert 0.5 <= time.monotonic() - started < 20


def test_a_changed_ledger_stops_the_next_decision(shelf):
    shelf.promoted()
    shelf.promoted()
    first = history(shelf.store, shelf.name).entries[0]
    values = json.loads(first.text) | {"who": "somebody else"}
    shelf.store.client.set_model_version_tag(
        "vertiform-decisions", str(first.number), "decision", json.dumps(values)
    )
    with pytest.raises(TrackingError, match=r"ledger of decisions in .* was changed: Entry"):
        shelf.promoted()
    assert shelf.aliases["staging"] == 2
