"""The same promises through a real MLflow server on this machine."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.tracking.examples import a_run, promoted, registered
from tests.tracking.servers import free_port, started
from vertiform.errors import TrackingError
from vertiform.tracking.decisions import rollback
from vertiform.tracking.history import history, outcome, verify
from vertiform.tracking.registry import aliases_of, download_bundle, resolve
from vertiform.tracking.store import DATABASE, open_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/{DATABASE}", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with started(
        command, port=port, path="/health", cwd=folder, environment=environment
    ) as process:
        yield f"http://127.0.0.1:{port}", process


def test_runs_models_aliases_and_history_are_the_same_on_a_server(server, tmp_path):
    store = open_store(server[0], root=tmp_path)
    config = {"optimizer": {"lr": 0.001}} | {f"key_{n}": n for n in range(250)}
    with a_run(store, config=config) as run:
        for step in range(1200):
            run.log_points({"train/loss_nats": 1.0 / (step + 1)}, step=step)
        run.note("# A run")
    found = store.client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params["optimizer.lr"] == "0.001"
    assert len(found.data.params) == 251
    assert len(store.client.get_metric_history(run.id, "train/loss_nats")) == 1200

    first = registered(store, tmp_path, weights=b"first")
    promoted(store, first)
    promoted(store, registered(store, tmp_path))
    rollback(store, "software-area", "staging", reason="too slow")
    assert aliases_of(store, "software-area") == {
        "candidate": 2,
        "previous-staging": 2,
        "staging": 1,
    }
    chain = history(store, "software-area")
    assert [outcome(chain, e) for e in chain.entries] == ["moved", "moved", "rolled back"]
    assert verify(store, "software-area", root=tmp_path) == []

    bundle = download_bundle(store, resolve(store, "software-area@staging"), into=tmp_path / "here")
    assert (bundle / "model.safetensors").read_bytes() == b"first"


def test_a_model_that_changed_on_the_server_is_refused(server, tmp_path):
    store = open_store(server[0], root=tmp_path)
    version = registered(store, tmp_path)
    (changed,) = Path(server[1].args[-1]).rglob(f"{version.model_id}/artifacts/MLmodel")
    changed.write_text("flavors: {}")
    with pytest.raises(TrackingError, match=r"MLmodel of .* changed after it was logged"):
        download_bundle(store, version, into=tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_server_that_is_away_while_training_goes_on_loses_nothing(server, tmp_path):
    uri, process = server
    store = open_store(uri, root=tmp_path)
    with a_run(store) as run:
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            for step in range(3000):
                run.log_points({"train/loss_nats": float(step)}, step=step)
            assert time.monotonic() - began < 1  # training does not wait
            time.sleep(1)
        finally:
            os.killpg(process.pid, signal.SIGCONT)
    assert len(store.client.get_metric_history(run.id, "train/loss_nats")) == 3000


def test_a_server_that_hangs_says_so_within_seconds(server, tmp_path):
    uri, process = server
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(TrackingError, match="cannot be reached"):
            open_store(uri, root=tmp_path)
        assert time.monotonic() - began < 15
    finally:
        os.killpg(process.pid, signal.SIGCONT)
