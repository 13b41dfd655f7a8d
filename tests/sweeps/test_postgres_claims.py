"""Claims in a real PostgreSQL, by real processes that are killed and paused."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import optuna
import psycopg
import pytest

from tests.sweeps.postgres import database, server
from tests.sweeps.worker import GRACE_SECONDS, STUDY, worker
from vertiform.errors import StorageError
from vertiform.sweeps.database import open_database
from vertiform.sweeps.storage import open_storage

pytestmark = pytest.mark.slow
by_request = pytest.mark.fault  # waits for graces and servers: a minute of them in all


@pytest.fixture(scope="module")
def one_server() -> Iterator[str]:
    with database() as address:
        yield address


@pytest.fixture
def address(one_server: str) -> Iterator[str]:
    """The server's database, without the study of the test before."""
    yield one_server
    storage = open_database(one_server)
    if STUDY in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=STUDY, storage=storage)
    storage.engine.dispose()


def seconds_until(answer: str, ask, *, most: float) -> float:
    """Ask again and again until this is the answer; return how long it took."""
    started = time.monotonic()
    while (said := ask()) != answer:
        assert time.monotonic() - started < most, said
        time.sleep(0.1)
    return time.monotonic() - started


def test_a_killed_workers_trial_is_taken_up_after_the_grace_once_and_under_its_number(
    address, tmp_path
):
    with worker(tmp_path, address, n_trials=1) as one, worker(tmp_path, address, n_trials=1) as two:
        assert one("take") == "took 0"
        assert two("take") == "nothing"
        one.signal(signal.SIGKILL)
        with worker(tmp_path, address, n_trials=1) as three:
            waited = seconds_until("took over 0", lambda: two("take"), most=3 * GRACE_SECONDS)
            assert waited > GRACE_SECONDS - 2  # a beat, and what starting the third took
            assert three("take") == "nothing"
            assert two("tell") == "told 0 None"
            assert three("take") == "nothing"


@by_request
def test_a_worker_that_lives_keeps_its_trial_beyond_the_grace(address, tmp_path):
    with worker(tmp_path, address, n_trials=1) as one, worker(tmp_path, address, n_trials=1) as two:
        assert one("take") == "took 0"
        time.sleep(GRACE_SECONDS + 2)
        assert two("take") == "nothing"
        assert one("holds") == "True"


def test_a_worker_that_was_paused_for_too_long_learns_that_its_trial_is_anothers(address, tmp_path):
    with worker(tmp_path, address, n_trials=1) as one, worker(tmp_path, address, n_trials=1) as two:
        assert one("take") == "took 0"
        one.signal(signal.SIGSTOP)
        seconds_until("took over 0", lambda: two("take"), most=3 * GRACE_SECONDS)
        one.signal(signal.SIGCONT)
        assert one("holds") == "False"
        assert one("tell") == "lost"
        time.sleep(2)  # what was the first one's does not beat for it any more
        assert two("tell") == "told 0 None"


def test_a_worker_that_dies_in_its_turn_ends_it_at_once(address, tmp_path):
    with worker(tmp_path, address) as one, worker(tmp_path, address) as two:
        assert one("stay") == "in turn"
        two.begin("take")
        one.signal(signal.SIGKILL)
        started = time.monotonic()
        assert two.answer() == "took 0"
        assert time.monotonic() - started < 2


@by_request
def test_a_worker_paused_in_its_turn_loses_it_after_the_grace_and_is_told(address, tmp_path):
    with worker(tmp_path, address) as one, worker(tmp_path, address) as two:
        assert one("stay") == "in turn"
        one.signal(signal.SIGSTOP)
        assert two("take") == "took 0"
        one.signal(signal.SIGCONT)
        one.begin("")
        assert "silent for 6 seconds in its turn" in one.answer()


def test_a_trial_that_was_let_go_is_taken_up_without_waiting(address, tmp_path):
    with worker(tmp_path, address, n_trials=1) as one, worker(tmp_path, address, n_trials=1) as two:
        assert one("take") == "took 0"
        assert one("drop") == "dropped"
        assert two("take") == "took over 0"
        assert one("holds") == "False"


@by_request
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_workers_in_other_time_zones_are_alive_or_dead_all_the_same(address, tmp_path, zone):
    there = {"PGTZ": zone, "TZ": zone}
    with worker(tmp_path, address, n_trials=1, environment=there) as one:
        with worker(tmp_path, address, n_trials=1) as two:
            assert one("take") == "took 0"
            assert two("take") == "nothing"
            time.sleep(2)
            assert two("take") == "nothing"
            one.signal(signal.SIGKILL)
            seconds_until("took over 0", lambda: two("take"), most=3 * GRACE_SECONDS)


def test_four_that_open_an_empty_database_at_once_all_come_in(address):
    empty = address.rpartition("/")[0] + "/vertiform_users"
    with ThreadPoolExecutor(4) as pool:
        storages = list(pool.map(open_database, [empty] * 4))
    study = optuna.create_study(storage=storages[0], study_name="one")
    assert optuna.get_all_study_names(storages[3]) == ["one"]
    assert study.ask().number == 0


def test_tables_of_another_version_of_optuna_are_named(address):
    empty = address.rpartition("/")[0] + "/vertiform_users"
    open_database(empty).engine.dispose()
    with psycopg.connect(empty) as connection:
        was = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
    with pytest.raises(StorageError, match=r"another version of Optuna(?s:.)*storage upgrade"):
        open_database(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", was)


@by_request
def test_cut_connections_are_replaced_and_the_trial_kept(address, tmp_path):
    with worker(tmp_path, address, n_trials=1) as one, worker(tmp_path, address, n_trials=1) as two:
        assert one("take") == "took 0"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND usename = current_user"
            )
        time.sleep(GRACE_SECONDS + 2)
        assert two("take") == "nothing"
        assert one("tell") == "told 0 None"


@by_request
def test_a_server_that_is_away_for_longer_than_the_grace_costs_no_worker_its_trial(tmp_path):
    with server() as away, ExitStack() as stack:
        with away.running() as address:
            one, two = (
                stack.enter_context(worker(tmp_path, address, n_trials=1)) for _ in range(2)
            )
            assert one("take") == "took 0"
        two.begin("take")
        time.sleep(GRACE_SECONDS + 3)
        one.signal(signal.SIGSTOP)  # so that the other is the first to see how old its beat is
        with away.running():
            assert two.answer() == "nothing"
            one.signal(signal.SIGCONT)
            assert one("holds") == "True"
            time.sleep(2)
            one.signal(signal.SIGKILL)  # and death is noticed as before
            seconds_until("took over 0", lambda: two("take"), most=4 * GRACE_SECONDS)
            assert two("tell") == "told 0 None"


def test_a_wrong_password_and_a_closed_database_are_said_with_their_fix(
    address, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSWORD", "wrong")
        with pytest.raises(StorageError, match=r"Fix: give the password in .*PGPASSWORD") as said:
            open_storage(tmp_path, address, 1)
    assert os.environ["PGPASSWORD"] not in str(said.value)
    with pytest.raises(StorageError, match=r"Fix: ask who runs the server to let this user in"):
        open_storage(tmp_path, address.rpartition("/")[0] + "/template1", 1)


def test_a_database_that_is_absent_is_said_with_the_command_that_makes_it(tmp_path):
    with database() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP DATABASE vertiform_users")
        with pytest.raises(
            StorageError, match=r"Fix: make the database .`createdb vertiform_users"
        ):
            open_storage(tmp_path, address.rpartition("/")[0] + "/vertiform_users", 1)
