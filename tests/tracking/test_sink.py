import threading
import time
from dataclasses import replace

import pytest

from tests.tracking.examples import a_run
from vertiform.errors import TrackingError
from vertiform.tracking.limits import to_valid_name
from vertiform.tracking.sink import ShippingSink


class FailingClient:
    """MLflow's client, except that its first `failures` batches meet a store that is away."""

    def __init__(self, client, *, failures):
        self.client, self.failures, self.batches = client, failures, []

    def log_batch(self, run_id, metrics, synchronous):
        self.batches.append(metrics)
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("the store is away")
        self.client.log_batch(run_id, metrics=metrics, synchronous=synchronous)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr("vertiform.tracking.sink.SECONDS_BETWEEN_BATCHES", 0.05)
    monkeypatch.setattr("vertiform.tracking.sink.SECONDS_BETWEEN_TRIES", 0.02)


def history(store, run_id, name):
    return store.client.get_metric_history(run_id, name)


def test_every_point_arrives_once_in_batches_of_at_most_a_thousand(store):
    with a_run(store) as run:
        client = FailingClient(store.client, failures=0)
        sink = ShippingSink(replace(store, client=client), run.id, seconds_to_finish=5)
        for step in range(2500):
            sink.log_points({"train/loss_nats": step / 7, "train/learning_rate": 0.1}, step=step)
        sink.close()
    points = history(store, run.id, "train/loss_nats")
    assert sorted((p.step, p.value) for p in points) == [(step, step / 7) for step in range(2500)]
    assert max(len(batch) for batch in client.batches) <= 1000


def test_points_arrive_while_training_goes_on(store):
    with a_run(store) as run:
        run.sink.log_points({"train/loss_nats": 3.0}, step=1)
        deadline = time.monotonic() + 10
        while not history(store, run.id, "train/loss_nats"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_time_is_fixed_when_a_point_comes_in_and_not_when_it_is_sent(store):
    with a_run(store) as run:
        client = FailingClient(store.client, failures=5)
        sink = ShippingSink(replace(store, client=client), run.id, seconds_to_finish=5)
        sink.log_points({"train/loss_nats": 3.0}, step=1)
        entered_ms = time.time() * 1000
        time.sleep(0.2)
        sink.close()
    (point,) = history(store, run.id, "train/loss_nats")
    assert client.failures == 0
    assert len(client.batches) == 6
    assert abs(point.timestamp - entered_ms) < 100


def test_a_store_that_is_away_for_a_while_costs_nothing_but_one_warning(store, caplog):
    with a_run(store) as run:
        client = FailingClient(store.client, failures=4)
        sink = ShippingSink(replace(store, client=client), run.id, seconds_to_finish=5)
        for step in range(10):
            sink.log_points({"train/loss_nats": 1.0}, step=step)
        sink.close()
    assert client.failures == 0
    assert len(history(store, run.id, "train/loss_nats")) == 10
    warnings = [record for record in caplog.records if "takes no metrics now" in record.message]
    assert len(warnings) == 1


def test_points_that_never_arrive_are_counted_with_the_reason(store):
    client = FailingClient(store.client, failures=10**6)
    sink = ShippingSink(replace(store, client=client), "a-run", seconds_to_finish=0.1)
    for step in range(1500):
        sink.log_points({"train/loss_nats": 1.0}, step=step)
    with pytest.raises(TrackingError, match=r"1,500 metric points of run a-run .*store is away"):
        sink.close()


def test_points_for_a_run_that_is_gone_are_given_up_at_once(store):
    sink = ShippingSink(store, "0" * 32, seconds_to_finish=60)
    sink.log_points({"train/loss_nats": 1.0}, step=1)
    started = time.monotonic()
    with pytest.raises(TrackingError, match="1 metric points"):
        sink.close()
    assert time.monotonic() - started < 5


def test_nan_and_infinity_arrive(store):
    with a_run(store) as run:
        run.sink.log_points({"train/loss_nats": float("nan")}, step=1)
        run.sink.log_points({"train/gradient_norm": float("inf")}, step=1)
    (point,) = history(store, run.id, "train/loss_nats")
    assert point.value != point.value
    assert len(history(store, run.id, "train/gradient_norm")) == 1


def test_the_thread_ends_with_the_run(store):
    with a_run(store):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "metrics"]


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("val/f1_macro", "val/f1_macro"),
        ("test/f1/C#", "test/f1/C_23_"),
        ("test/f1/C+", "test/f1/C_2b_"),
        ("test/f1/", "test/f1/_"),
        ("test/f1/..", "test/f1/_2e__2e_"),
        ("test/f1/TCP/IP", "test/f1/TCP/IP"),
        ("test/f1/søknad 3", "test/f1/søknad 3"),
    ],
)
def test_any_label_makes_a_name_that_mlflow_takes(store, name, valid):
    assert to_valid_name(name) == valid
    with a_run(store) as run:
        run.log_metrics({name: 0.5})
    assert history(store, run.id, valid)[0].value == 0.5
