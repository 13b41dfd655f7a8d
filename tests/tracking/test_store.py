import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.tracking.servers import free_port
from vertiform.errors import StorageError, TrackingError
from vertiform.tracking.store import (
    DATABASE,
    errors_named,
    open_store,
    what_went_wrong,
    without_credentials,
)


def test_the_default_store_lies_at_the_root_with_absolute_paths(store, tmp_path):
    experiment = store.client.get_experiment(store.experiment_id("software"))
    assert store.uri == f"sqlite:///{tmp_path}/project/{DATABASE}"
    assert experiment.artifact_location == f"{tmp_path}/project/mlartifacts/software"


def test_a_relative_sqlite_address_is_read_from_the_root(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "other.db")
    assert open_store("sqlite:///other.db", root=tmp_path).uri == f"sqlite:///{tmp_path}/other.db"


def test_an_experiment_is_created_once(store):
    assert store.experiment_id("software") == store.experiment_id("software")


def test_a_deleted_experiment_says_how_to_restore_it(store):
    experiment_id = store.experiment_id("software")
    store.client.delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match=f"experiments restore --experiment-id {experiment_id}"):
        store.experiment_id("software")


def test_a_copied_project_does_not_write_into_the_one_it_was_copied_from(store, tmp_path):
    store.experiment_id("software")
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "project" / DATABASE, tmp_path / "copy")
    copy = open_store(None, root=tmp_path / "copy")
    with pytest.raises(TrackingError, match=r"moved or copied from there.*\n.*move it back"):
        copy.experiment_id("software")


def test_reading_where_there_is_no_store_creates_none(tmp_path):
    with pytest.raises(TrackingError, match=r"no MLflow store yet.*\n.*dvc repro"):
        open_store(None, root=tmp_path, must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_a_store_locked_by_another_program_says_so_within_seconds(
    empty_database, tmp_path, monkeypatch
):
    monkeypatch.setattr("vertiform.tracking.store.SECONDS_TO_ANSWER", 0.1)
    shutil.copy(empty_database, tmp_path / DATABASE)
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match=r"locked by another program\.\n  Fix: wait"):
            open_store(None, root=tmp_path)


def test_a_lock_met_later_is_named_too():
    from mlflow.exceptions import MlflowException

    with pytest.raises(TrackingError, match="locked"), errors_named("sqlite:///a.db"):
        raise MlflowException("(sqlite3.OperationalError) database is locked")


def test_a_full_disk_is_a_storage_error():
    from mlflow.exceptions import MlflowException

    with pytest.raises(StorageError, match="No space"), errors_named("sqlite:///a.db"):
        raise MlflowException("(sqlite3.OperationalError) database or disk is full")
    with pytest.raises(StorageError, match="No space"), errors_named("sqlite:///a.db"):
        raise OSError(28, "No space left on device")


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / DATABASE).write_text("not a database, but long enough to have a header" * 100)
    with pytest.raises(TrackingError, match="not a working SQLite database"):
        open_store(None, root=tmp_path)


def test_a_database_of_another_mlflow_says_how_to_upgrade(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / DATABASE)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("UPDATE alembic_version SET version_num = '181f10493468'")
        database.commit()
    with pytest.raises(TrackingError, match=r"mlflow db upgrade sqlite:///"):
        open_store(None, root=tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(TrackingError, match=r"folder .*/nowhere of MLflow's store does not exist"):
        open_store(f"sqlite:///{tmp_path}/nowhere/mlflow.db", root=tmp_path)


def test_an_address_of_another_kind_is_refused_without_its_password(tmp_path):
    with pytest.raises(TrackingError, match="not an MLflow store") as raised:
        open_store("postgresql://ann:secret@host/db", root=tmp_path)
    assert "secret" not in str(raised.value)


def test_an_unreachable_server_says_so_within_seconds(tmp_path):
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        port = nobody_listens.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(TrackingError, match=r"cannot be reached.*\n  Fix: start the server"):
            open_store(f"http://ann:secret@127.0.0.1:{port}", root=tmp_path)
        assert time.monotonic() - started < 3


def test_a_server_that_asks_for_a_password_says_where_to_put_it(tmp_path):
    with (
        answering(401) as address,
        pytest.raises(TrackingError, match="MLFLOW_TRACKING_USERNAME"),
    ):
        open_store(address, root=tmp_path)


def test_a_server_that_is_not_mlflow_is_told_from_one(tmp_path):
    with answering(404) as address, pytest.raises(TrackingError, match="answered 404"):
        open_store(address, root=tmp_path)


def test_credentials_are_taken_out_of_every_address():
    text = "push http://ann:secret@host/x and https://token@other/y"
    assert without_credentials(text) == "push http://***@host/x and https://***@other/y"


def test_importing_the_room_does_not_import_mlflow():
    rooms = ["store", "runs", "shipper", "journal", "lineage", "packaging", "registry", "receipts"]
    rooms += ["decisions", "history", "witness", "events"]
    imports = ", ".join(f"vertiform.tracking.{room}" for room in rooms)
    code = f"import sys, {imports}; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@contextmanager
def answering(status: int):
    """An HTTP server that gives every request the same answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


CREATING = """
import sys
from pathlib import Path
from vertiform.tracking.store import open_store
print(open_store(None, root=Path(sys.argv[1])).experiment_id("software"))
"""


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_once_all_can_and_see_one(tmp_path):
    command = [sys.executable, "-c", CREATING, str(tmp_path)]
    at_once = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [process.communicate() for process in at_once]
    assert [process.returncode for process in at_once] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1


def test_a_request_that_failed_is_told_in_a_few_words(monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MlflowException) as refused:
        client.get_experiment("0")
    assert what_went_wrong(refused.value) == "the connection is refused"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Read timed out. (read timeout=30)", "it does not answer in time"),
        ("ConnectionResetError(104, 'Connection reset by peer')", "the connection broke off"),
        ("Max retries exceeded (too many 500 error responses)", "it answers 500"),
        ("failed with error code 503 != 200", "it answers 503"),
        ("failed with error code 403 != 200", "it does not let you do this (403)"),
        ("failed with error code 401 != 200", "it does not know you (401)"),
        ("[Errno -2] Name or service not known", "its name is not known"),
        ("something else\nover two lines", "API request to http://x something else"),
    ],
)
def test_other_words_of_the_http_library_are_as_short(words, told):
    assert what_went_wrong(RuntimeError(f"API request to http://x {words}")) == told
