"""What logging costs a training step: `python -m benchmarks.tracking_steps all SPEC`.

In one process, block by block in turn: the same real steps of about 5 ms that log nothing, that
log to a run of ours (its journal on disk, its syncing thread, the shipper's process bringing it to
SQLite meanwhile), and that log through Lightning's MLFlowLogger to SQLite. The last line is JSON.
"""

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tests.tracking.examples import a_run
from vertiform.doors import prepare_environment
from vertiform.tracking.store import open_store
from vertiform.training.metrics import MetricSink, NoSink

WIDTH = 320  # of the matrices that a step multiplies
NAMES = tuple(f"train/metric_{number}" for number in range(20))
LogPoints = Callable[[Mapping[str, float], int], None]


class Work:
    """A step of real work on one thread: as many products of matrices as take `milliseconds`."""

    def __init__(self, milliseconds: float) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self._left, self._right = torch.randn(2, WIDTH, WIDTH).unbind()
        self._out = torch.empty(WIDTH, WIDTH)
        self._products = 20
        for _ in range(5):
            seconds = min(_seconds(self) for _ in range(20))
            self._products = max(1, round(self._products * milliseconds / 1000 / seconds))

    def __call__(self) -> None:
        for _ in range(self._products):
            torch.mm(self._left, self._right, out=self._out)


class Block:
    """What one block of steps measured, in nanoseconds.

    A call during which the system gave this thread's core to another one is not among `calls`: its
    time is that of whatever else runs on the machine.
    """

    def __init__(self, work: Work, log: LogPoints, *, steps: int, first: int, num: int) -> None:
        self.logged_at, self.calls, self.steps = [], [], []
        drawn = [[(step * 31 + n) % 97 / 97 for n in range(num)] for step in range(steps)]
        cpu = time.process_time_ns()
        begun = time.perf_counter_ns()
        for step, values in enumerate(drawn, start=first):
            work()
            points = dict(zip(NAMES[:num], values, strict=True))
            kept = _times_put_aside()
            called = time.perf_counter_ns()
            log(points, step)
            ended = time.perf_counter_ns()
            if _times_put_aside() == kept:
                self.calls.append(ended - called)
            self.logged_at.append(ended)
            self.steps.append(ended - begun)
            begun = ended
        self.put_aside = steps - len(self.calls)
        self.cpu_per_step = (time.process_time_ns() - cpu) / steps


class Syncs:
    """When data was synced to the disk by this process, from a call's beginning to its end."""

    def __init__(self) -> None:
        self.times: list[tuple[int, int]] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note every fdatasync while the block lasts; the real one is made."""
        real = os.fdatasync

        def fdatasync(file: int) -> None:
            begun = time.perf_counter_ns()
            real(file)
            self.times.append((begun, time.perf_counter_ns()))

        os.fdatasync = fdatasync
        try:
            yield
        finally:
            os.fdatasync = real

    def delay_after(self, logged: int) -> int:
        """Nanoseconds from a time to the end of the first sync that began after it."""
        return min(end for begun, end in self.times if begun >= logged) - logged


def measured(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run the blocks in turn; return medians, and what each block took."""
    syncs = Syncs()
    with tempfile.TemporaryDirectory(prefix="steps-") as place, syncs.noted():
        blocks = _blocks(spec, Path(place))
    found: dict[str, Any] = {"steps": sum(len(each.steps) for each in blocks["ours"])}
    for side, of_side in blocks.items():
        found[f"{side}_ms"] = [statistics.fmean(b.steps) / 1e6 for b in of_side]
        found[f"{side}_cpu_ms"] = [b.cpu_per_step / 1e6 for b in of_side]
        calls = [call / 1000 for b in of_side for call in b.calls]
        found[f"{side}_log_us"] = {
            "p50": quantile(calls, 0.5),
            "p99": quantile(calls, 0.99),
            "put_aside": sum(b.put_aside for b in of_side),
        }
    logged = [at for side in ("ours", "ours_one") for b in blocks[side] for at in b.logged_at]
    delays = sorted(syncs.delay_after(at) / 1e6 for at in logged)
    return found | {"disk_ms": {"p50": quantile(delays, 0.5), "max": delays[-1]}}


def _blocks(spec: Mapping[str, Any], place: Path) -> dict[str, list[Block]]:
    """The sides in turn, each block of ours in a run of its own that ends before the next side."""
    work = Work(spec["milliseconds"])
    store = open_store(None, root=place)
    peer = peer_logger(f"sqlite:///{place / 'peer.db'}")
    blocks: dict[str, list[Block]] = {s: [] for s in ("nothing", "ours", "ours_one", "peer")}
    for number in range(spec["rounds"]):
        at = {"steps": spec["steps"], "first": number * spec["steps"]}
        blocks["nothing"].append(Block(work, _sink(NoSink()), **at, num=20))
        for side, num in (("ours", 20), ("ours_one", 1)):
            with a_run(store, side, in_background=True) as run:
                _ = run.id  # the shipper's start, once, is no part of a step
                blocks[side].append(Block(work, _sink(run), **at, num=num))
        blocks["peer"].append(Block(work, peer.log_metrics, **at, num=20))
    return {side: of_side[1:] for side, of_side in blocks.items()}  # the first warms up


def peer_logger(uri: str) -> Any:
    """Lightning's own logger, as it comes, with its run opened."""
    from lightning.pytorch.loggers import MLFlowLogger

    logger = MLFlowLogger(tracking_uri=uri)
    _ = logger.experiment
    return logger


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def _sink(sink: MetricSink) -> LogPoints:
    return lambda points, step: sink.log_points(points, step=step)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.thread_time()  # of this thread alone: others may share the core
    work()
    return time.thread_time() - begun


def _times_put_aside() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


if __name__ == "__main__":
    prepare_environment()
    print(json.dumps(measured(json.loads(sys.argv[2]))))
