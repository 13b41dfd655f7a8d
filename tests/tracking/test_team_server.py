"""A team's server on its real parts: MLflow with PostgreSQL, moto's S3, and people with roles."""

import base64
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import pytest
from mlflow.exceptions import MlflowException

from scripts.server.keyring import ADMIN, DATABASE_PASSWORD
from scripts.server.objects import BUCKET, s3_client
from scripts.server.postgresql import RUNS, USERS, binaries, client_environment
from tests.tracking.examples import LINEAGE, REBUILD, a_run, logged_model, promoted
from tests.tracking.team import WEBHOOK_SECRET, Team, team
from vertiform.errors import EXIT_USER, TrackingError
from vertiform.tracking import following
from vertiform.tracking.decisions import rollback
from vertiform.tracking.history import history, verify
from vertiform.tracking.registry import (
    LEDGER,
    aliases_of,
    download_bundle,
    find_version,
    register,
    resolve,
)

pytestmark = pytest.mark.slow
MODEL = "software-area"


@pytest.fixture(scope="module")
def a_team():
    with team() as everyone:
        yield everyone


@pytest.fixture(scope="module")
def shelf(a_team: Team, tmp_path_factory) -> Team:
    """Two versions: tom trained them, ada registered and promoted one after the other."""
    for weights in (b"first", b"second"):
        with a_team.store_of("tom") as store:
            model = logged_model(store, tmp_path_factory.mktemp("tom"), weights=weights)
        with a_team.store_of("ada") as store:
            version = register(store, MODEL, model, card="# A model\n", rebuild=REBUILD, tags={})
            promoted(store, version, reason=f"the {weights.decode()}")
    return a_team


def test_who_may_promote_goes_the_whole_way_and_back(shelf, tmp_path):
    with shelf.store_of("ada") as store:
        assert aliases_of(store, MODEL) == {"candidate": 2, "previous-staging": 1, "staging": 2}
        rollback(store, MODEL, "staging", reason="too slow")
        assert aliases_of(store, MODEL)["staging"] == 1
        told = [entry.decision for entry in history(store, MODEL).links]
        assert [d.action for d in told] == ["moved", "moved", "rolled back"]
        assert {d.who for d in told} == {"ada"}  # the server's word, not that of ada's machine
        assert verify(store, MODEL, root=tmp_path) == []
        here = download_bundle(store, resolve(store, f"{MODEL}@staging"), into=tmp_path / "here")
        rollback(store, MODEL, "staging", reason="it was not that")
    assert (here / "model.safetensors").read_bytes() == b"first"


def test_files_lie_in_s3_and_no_client_needs_its_keys(shelf):
    kept = [key for key, _ in objects_of(shelf) if key.endswith("bundle/model.safetensors")]
    assert len(kept) == 2
    with shelf.store_of("bob") as store:  # whose environment names no key of S3
        location = store.client.get_model_version_download_uri(MODEL, "1")
    assert location.startswith("mlflow-artifacts:/")


def test_who_may_only_read_reads_all_of_it(shelf, tmp_path):
    with shelf.store_of("bob") as store:
        download_bundle(store, resolve(store, f"{MODEL}@staging"), into=tmp_path / "here")
        assert history(store, MODEL).links


def test_who_may_only_read_moves_no_alias(shelf):
    before = everything_about(shelf)
    with shelf.store_of("bob") as store:
        version = find_version(store, MODEL, 1)
        for passed in (True, False):
            with pytest.raises(TrackingError, match=r"does not let bob do this.*\n  Fix: ask"):
                promoted(store, version, passed=passed, reason="I want it")
        with pytest.raises(TrackingError, match="does not let"):
            rollback(store, MODEL, "staging", reason="I want it back")
        with pytest.raises(MlflowException, match="Permission denied"):
            store.client.set_registered_model_alias(MODEL, "staging", "1")
    assert everything_about(shelf) == before


def test_who_may_only_train_moves_no_alias_either(shelf):
    before = everything_about(shelf)
    with shelf.store_of("tom") as store:
        version = find_version(store, MODEL, 1)
        with pytest.raises(TrackingError, match="does not let"):
            promoted(store, version, reason="I want it")
    assert everything_about(shelf) == before


def test_who_may_promote_takes_no_decision_out_of_the_ledger(shelf):
    before = everything_about(shelf)
    with shelf.store_of("ada") as store:
        for forget in (
            lambda: store.client.delete_model_version(LEDGER, "1"),
            lambda: store.client.delete_registered_model(LEDGER),
        ):
            with pytest.raises(MlflowException, match="Permission denied"):
                forget()
    assert everything_about(shelf) == before


def test_mlflow_tells_a_webhook_of_its_own_when_an_alias_moves(shelf):
    with receiver() as (address, received):
        with shelf.store_of(ADMIN) as store:
            events = ["model_version_alias.created"]
            hook = store.client.create_webhook("follow", address, events, secret=WEBHOOK_SECRET)
            time.sleep(1.1)  # the list of webhooks is remembered for so long
        with shelf.store_of("ada") as store:
            rollback(store, MODEL, "staging", reason="too slow")
            rollback(store, MODEL, "staging", reason="it was not that")
        told = [received.get(timeout=20) for _ in range(4)]  # previous-staging moves too
        with shelf.store_of(ADMIN) as store:
            store.client.delete_webhook(hook.webhook_id)
    moves = [json.loads(body)["data"] for body, _ in told]
    assert [m["version"] for m in moves if m["alias"] == "staging"] == ["1", "2"]
    for body, headers in told:
        signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.".encode()
        mac = hmac.digest(WEBHOOK_SECRET.encode(), signed + body, "sha256")
        assert headers["X-MLflow-Signature"] == f"v1,{base64.b64encode(mac).decode()}"


def test_the_command_ends_with_two_lines_and_exit_code_2(shelf):
    asked = ["rollback", f"{MODEL}@staging", "--tracking", "server", "--reason", "I want it back"]
    done = subprocess.run(
        [sys.executable, "-m", "vertiform.cli.main", *asked],
        env=shelf.environment_of("bob"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == EXIT_USER
    assert "does not let bob do this" in done.stderr
    assert "Traceback" not in done.stderr
    assert not found_in(done.stderr.encode(), shelf)


@pytest.mark.parametrize(
    ("user", "why"), [("ada", "not as ada with this password"), (None, "did not say who you are")]
)
def test_without_the_right_password_nobody_comes_in(a_team, user, why):
    with a_team.store_of(user, password="guessed-by-somebody") as store:
        for ask in (
            lambda: history(store, MODEL),
            lambda: resolve(store, f"{MODEL}@staging"),
            lambda: store.experiment_id("software"),
        ):
            with pytest.raises(TrackingError, match=why) as refused:
                ask()
            assert "guessed-by-somebody" not in str(refused.value)


def test_a_reader_opens_no_run_where_others_train(shelf, caplog, monkeypatch):
    monkeypatch.setattr(following, "SECONDS_IN_TROUBLE", 0.1)
    with shelf.store_of("bob") as store:
        with a_run(store) as run:
            pass
        assert "does not have all of the run `area from scratch` yet" in caplog.text
        with pytest.raises(TrackingError, match=r"is not in .* yet: .*does not let"):
            _ = run.id


def test_no_secret_is_in_a_log_a_file_a_database_or_a_command_line(shelf, tmp_path):
    with shelf.store_of("ada") as store:
        # What a careless config holds is taken out before it is kept.
        password = shelf.passwords["ada"]
        config = {"tracking": {"tracking_uri": f"http://ada:{password}@127.0.0.1:5000"}}
        with a_run(store, config=config, lineage=LINEAGE) as run:
            run.note("# A run")
        assert store.client.get_run(run.id).data.params["tracking.tracking_uri"].startswith("http")
    places = dict(objects_of(shelf)) | command_lines() | dumps(shelf) | files_of(shelf)
    assert {"mlflow.log", "moto.log", "postgresql.log", "accounts.ini"} <= places.keys()
    assert any(b"moto.server" in text for text in places.values())  # the command lines are there
    assert b"scrypt:" in places[f"dump of {USERS}"]  # so are the accounts, but as hashes
    assert found_in(b"Authorization: " + shelf.never_to_be_seen()[-1], shelf)  # it can find one
    assert {name for name, text in places.items() if found_in(text, shelf)} == set()


@contextmanager
def receiver() -> Iterator[tuple[str, "Queue[tuple[bytes, Mapping[str, str]]]"]]:
    """Listen on a free port of this machine, and keep the body and headers of every POST."""
    received: Queue[tuple[bytes, Mapping[str, str]]] = Queue()

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((body, dict(self.headers)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def everything_about(shelf: Team) -> object:
    """Return what the server holds of the model: aliases, tags, versions and decisions."""
    with shelf.store_of(ADMIN) as store:
        model = store.client.get_registered_model(MODEL)
        versions = [
            (found.name, found.version, found.tags, found.last_updated_timestamp)
            for name in (MODEL, LEDGER)
            for found in store.client.search_model_versions(f"name = '{name}'")
        ]
        files = sorted(key for key, _ in objects_of(shelf))
        return dict(model.aliases), dict(model.tags), versions, files


def objects_of(shelf: Team) -> list[tuple[str, bytes]]:
    """Return every object in the bucket."""
    s3 = s3_client(shelf.server.plan.s3_port)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return [(key, s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]


def dumps(shelf: Team) -> dict[str, bytes]:
    """Return both databases as pg_dump writes them."""
    place = client_environment(
        shelf.secrets[DATABASE_PASSWORD], port=shelf.server.plan.database_port
    )
    dump = [str(binaries() / "pg_dump"), "--inserts"]
    return {
        f"dump of {name}": subprocess.run(
            [*dump, name], env=os.environ | place, check=True, capture_output=True
        ).stdout
        for name in (RUNS, USERS)
    }


def files_of(shelf: Team) -> dict[str, bytes]:
    """Return every file of the server's folder, the cluster's too, but for the secrets' own."""
    folder = shelf.server.plan.folder
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".env"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def command_lines() -> dict[str, bytes]:
    """Return the command line of every process of this machine that we may see, as ps shows it."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[f"command line of {place.parent.name}"] = place.read_bytes()
        except OSError:  # it ended
            continue
    return found


def found_in(text: bytes, shelf: Team) -> bool:
    return any(secret in text for secret in shelf.never_to_be_seen())
