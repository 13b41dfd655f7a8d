"""A team's server on its real parts: MLflow with PostgreSQL, moto's S3, and people with roles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.server.keyring import ADMIN, DATABASE_PASSWORD
from scripts.server.objects import BUCKET, s3_client
from scripts.server.postgresql import RUNS, USERS, binaries, client_environment
from tests.tracking.examples import LINEAGE, REBUILD, a_run, logged_model, verdict
from tests.tracking.team import Team, team
from vertiform.errors import EXIT_USER, TrackingError
from vertiform.tracking.decisions import history, promote, rollback
from vertiform.tracking.registry import aliases_of, download_bundle, find_version, register, resolve

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
            promote(store, version, verdict=verdict(passed=True), reason=f"the {weights.decode()}")
    return a_team


def test_who_may_promote_goes_the_whole_way_and_back(shelf, tmp_path):
    with shelf.store_of("ada") as store:
        assert aliases_of(store, MODEL) == {"candidate": 2, "previous-staging": 1, "staging": 2}
        rollback(store, MODEL, "staging", reason="too slow")
        assert aliases_of(store, MODEL)["staging"] == 1
        decisions = history(store, MODEL)
        assert [d.action for d in decisions] == ["moved", "moved", "rolled back"]
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
        assert history(store, MODEL)


def test_who_may_only_read_moves_no_alias(shelf):
    before = everything_about(shelf)
    with shelf.store_of("bob") as store:
        version = find_version(store, MODEL, 1)
        for passed in (True, False):
            with pytest.raises(TrackingError, match=r"does not let bob do this.*\n  Fix: ask an"):
                promote(store, version, verdict=verdict(passed=passed), reason="I want it")
        with pytest.raises(TrackingError, match="does not let bob do this"):
            rollback(store, MODEL, "staging", reason="I want it back")
    assert everything_about(shelf) == before


def test_who_may_only_train_moves_no_alias_either(shelf):
    before = everything_about(shelf)
    with shelf.store_of("tom") as store:
        version = find_version(store, MODEL, 1)
        with pytest.raises(TrackingError, match="does not let tom do this"):
            promote(store, version, verdict=verdict(passed=True), reason="I want it")
    assert everything_about(shelf) == before


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


def test_a_reader_opens_no_run_where_others_train(shelf):
    with shelf.store_of("bob") as store, pytest.raises(TrackingError, match="does not let bob"):
        with a_run(store):
            pass


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


def everything_about(shelf: Team) -> object:
    """Return what the server holds of the model: aliases, tags, versions and decisions."""
    with shelf.store_of(ADMIN) as store:
        model = store.client.get_registered_model(MODEL)
        versions = store.client.search_model_versions(f"name = '{MODEL}'")
        tags = {v.version: (v.tags, v.last_updated_timestamp) for v in versions}
        files = sorted(key for key, _ in objects_of(shelf))
        return dict(model.aliases), dict(model.tags), tags, history(store, MODEL), files


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
