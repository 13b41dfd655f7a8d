"""Stores that fail now and then, and runs whose process was killed. Both are real otherwise."""

import signal
import subprocess
import sys
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from vertiform.tracking.shipper import journals_of, unshipped
from vertiform.tracking.store import store_at

ROOT = Path(__file__).parents[2]  # where `tests` is a package


class FailingClient:
    """MLflow's client, except that some calls fail: before they reach it, or after they worked."""

    def __init__(self, client, *, before=0, after=0, on=("log_batch",)):
        self.client, self.before, self.after, self.on, self.batches = client, before, after, on, []

    def __getattr__(self, name):
        real = getattr(self.client, name)
        return self._failing(name, real) if name in self.on else real

    def _failing(self, name, real):
        def call(*args, **options):
            if name == "log_batch" and "metrics" not in options:
                return real(*args, **options)  # tags and parameters: the points are meant
            if self.before > 0:
                self.before -= 1
                raise ConnectionError("the store is away")
            self.batches.append(len(options.get("metrics", ())))
            answer = real(*args, **options)
            if self.after > 0:
                self.after -= 1
                raise ConnectionError("the answer got lost")
            return answer

        return call


class DenyingClient:
    """MLflow's client, except that some calls are answered as a server does who lacks the right."""

    def __init__(self, client, *, denied):
        self.client, self.denied, self.asked = client, denied, []

    def __getattr__(self, name):
        return self._deny(name) if name in self.denied else getattr(self.client, name)

    def _deny(self, name):
        def call(*args, **options):
            self.asked.append(name)
            raise MlflowException("Permission denied", error_code=PERMISSION_DENIED)

        return call


def denying(store, *denied):
    """The store with a client of that kind."""
    other = store_at(store.uri, root=store.root)
    vars(other)["client"] = DenyingClient(store.client, denied=denied)
    return other


def failing(store, **options):
    """The store with a client of that kind."""
    other = store_at(store.uri, root=store.root)
    vars(other)["client"] = FailingClient(store.client, **options)
    return other


def killed_run(store, *, steps, name="area from scratch"):
    """The journal of a run whose process died after `steps` steps."""
    code = f"""
import os, signal
from pathlib import Path
from tests.tracking.examples import a_run
from vertiform.tracking import runs
from vertiform.tracking.store import store_at
store = store_at({store.uri!r}, root=Path({str(store.root)!r}))
with a_run(store, {name!r}, identity="one") as run:
    for step in range({steps}):
        run.log_points({{"train/loss_nats": step / 7}}, step=step)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    (folder,) = unshipped(journals_of(store.root), store.name)
    return folder
