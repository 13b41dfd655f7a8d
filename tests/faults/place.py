"""A project for one fault: a store, runs in it, a model at an alias, and what is counted later."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.rows import Row
from tests.faults.trainer import NUM_METRICS, name_of, value_of
from tests.tracking.examples import promoted, registered
from vertiform.errors import TrackingError
from vertiform.tracking.history import verify
from vertiform.tracking.locks import holder_of, is_locked
from vertiform.tracking.registry import (
    LADDER,
    LEDGER,
    aliases_of,
    find_version,
    verified_files,
)
from vertiform.tracking.shipped import read_shipped
from vertiform.tracking.shipper import journals_of, unshipped
from vertiform.tracking.store import Store, open_store

REPOSITORY = Path(__file__).parents[2]
MODEL = "software-area"
SECONDS_TO_WAIT = 240.0  # on a machine that is busy with other tests
SYNC = "from vertiform.cli.main import main; main()"


@dataclass
class Trainer:
    """One run of the place, in as many processes as it takes."""

    place: "Place"
    name: str
    options: tuple[str, ...] = ()
    process: subprocess.Popen | None = None
    kills: int = 0

    @property
    def folder(self) -> Path:
        """Where it keeps its checkpoint, and writes down what was accepted."""
        return self.place.folder / self.name

    def start(self) -> "Trainer":
        """Start, or go on, by the same command; return once it has logged something."""
        self.folder.mkdir(exist_ok=True)
        before = len(self.accepted)
        command = [
            *(sys.executable, "-m", "tests.faults.trainer", "--root", str(self.place.root)),
            *("--folder", str(self.folder), "--name", self.name, *self.options),
        ]
        if self.place.uri:
            command += ["--store", self.place.uri]
        with (self.folder / "said.txt").open("ab") as said:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self.place.environment, stdout=said, stderr=said
            )
        wait_until(lambda: len(self.accepted) > before, alive=self.process, said=self)
        return self

    def kill(self) -> None:
        """SIGKILL it in the middle of its run."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL, "it ended before its kill: no fault, no test"
        self.kills += 1

    def finish(self) -> str:
        """Let it come to its end. Returns all that it said."""
        assert self.process is not None
        (self.folder / "enough").touch()
        assert self.process.wait(SECONDS_TO_WAIT) == 0, self.said
        return self.said

    @property
    def accepted(self) -> list[int]:
        """The steps whose logging returned, repeated ones more than once."""
        path = self.folder / "accepted.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    @property
    def said(self) -> str:
        """What a person saw."""
        path = self.folder / "said.txt"
        return path.read_text() if path.exists() else ""


@dataclass
class Place:
    """A project of its own below `folder`."""

    folder: Path
    uri: str | None = None  # of a server that its runs go to; None: the database itself
    trainers: list[Trainer] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)  # environment

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        shutil.copytree(REPOSITORY / "conf", self.root / "conf")
        for file in ("params.yaml", "dvc.yaml"):
            shutil.copy(REPOSITORY / file, self.root)

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.folder / "project"

    @property
    def environment(self) -> Mapping[str, str]:
        """What its processes run under."""
        source = Path(sys.modules["vertiform"].__path__[0]).parent
        tracking = {"MLFLOW_TRACKING_URI": self.uri} if self.uri else {}
        return os.environ | {"PYTHONPATH": str(source)} | tracking | self.extra

    @property
    def journals(self) -> Path:
        """Where its journals lie."""
        return journals_of(self.root)

    @property
    def store_name(self) -> str:
        """What its journals call the store that they go to."""
        return self.uri or self.store().name

    def store(self) -> Store:
        """Open its database, whatever its runs go through."""
        return open_store(None, root=self.root)

    def with_model(self) -> "Place":
        """Register a model and let it pass to staging, so that there is an alias to be believed."""
        store = self.store()
        promoted(store, registered(store, self.folder / "model"))
        return self

    def trainer(self, name: str, *options: str) -> Trainer:
        """A run that has not begun."""
        self.trainers.append(Trainer(self, name, options))
        return self.trainers[-1]

    def shipper(self) -> int | None:
        """The id of the process that ships now."""
        for lock in self.journals.glob(".shipper-*.lock"):
            holder = holder_of(lock) if is_locked(lock) else None
            if holder is not None:
                return holder.pid
        return None

    def kill_shipper(self) -> bool:
        """SIGKILL the process that ships; False if there is none."""
        pid = self.shipper()
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def close(self) -> None:
        """Leave no process behind."""
        for trainer in self.trainers:
            if trainer.process is not None and trainer.process.poll() is None:
                trainer.process.kill()
                trainer.process.wait()
        wait_until(lambda: not self.kill_shipper())

    def sync(self, *arguments: str, exit_code: int = 0) -> str:
        """Run `vertiform sync`; return what it said."""
        tracking = "server" if self.uri else "local"
        return self.ask("sync", "--tracking", tracking, *arguments, exit_code=exit_code)

    def ask(self, *arguments: str, exit_code: int = 0) -> str:
        """Run a command of Vertiform's in the project; return what it said."""
        done = subprocess.run(
            [sys.executable, "-c", SYNC, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == exit_code, said
        return said

    def wait_until_shipped(self) -> None:
        """Wait for the shipper to have brought everything."""
        wait_until(lambda: not unshipped(self.journals, self.store_name))

    def position(self) -> int:
        """How many bytes of the trainers' journals have been sent."""
        return sum(read_shipped(folder).position for folder in self.journals.glob("run*/"))

    def row(self, fault: str, *, saw: str, happened: str) -> Row:
        """Count what was expected and what is there, and look at every alias."""
        expected, present, twice = self._expected(), Counter[tuple[str, str, int]](), 0
        store = self.store()
        values: dict[tuple[str, str, int], float] = {}
        for run, metric, points in _points(store):
            for step, value in points:
                present[run, metric, step] += 1
                values[run, metric, step] = value
        twice = sum(count > 1 for count in present.values())
        right = [point for point, value in expected.items() if values.get(point) == value]
        return Row(
            fault=fault,
            expected=len(expected),
            present=len(present.keys() & expected.keys()),
            twice=twice,
            missing=len(expected) - len(right),
            aliases_ok=not self.aliases_that_do_not_load(),
            saw=self.shown(saw),
            happened=happened,
        )

    def aliases_that_do_not_load(self) -> list[str]:
        """Read back what each alias of the ladder points at."""
        store, found = self.store(), []
        names = [model.name for model in store.client.search_registered_models()]
        for name in names:
            for alias, number in aliases_of(store, name).items():
                if name == LEDGER or alias not in LADDER:
                    continue
                try:
                    with verified_files(store, find_version(store, name, number)):
                        pass
                except TrackingError as error:
                    found.append(str(error))
        return found

    def verified(self) -> list[str]:
        """What `vertiform history --verify` would say."""
        return [str(error) for error in verify(self.store(), MODEL, root=self.root)]

    def shown(self, line: str) -> str:
        """A line without what belongs to this machine and this moment."""
        line = line.replace(f"sqlite:///{self.root}/mlflow.db", "<store>")
        if self.uri:
            line = line.replace(self.uri, "<server>")
        line = re.sub(r"^Error: ", "", line.replace(str(self.root), "<project>"))
        line = re.sub(r"127\.0\.0\.1[:', port=]*\d+", "<server>", line)
        line = re.sub(r"process \d+ on \S+ since \S+Z", "process <id> on <host>", line)
        return re.sub(r"\b[0-9a-f]{32}\b", "<id>", line).strip()

    def _expected(self) -> dict[tuple[str, str, int], float]:
        return {
            (trainer.name, name_of(metric), step): value_of(metric, step)
            for trainer in self.trainers
            for step in set(trainer.accepted)
            for metric in range(NUM_METRICS)
        }


def _points(store: Store):
    """Every point of the trainers' runs, by MLflow's own client: (run, metric, [(step, value)])."""
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    runs = store.client.search_runs(experiments, max_results=1000)
    for run in runs:
        for metric in run.data.metrics:
            if metric.startswith("train/metric_"):
                history = store.client.get_metric_history(run.info.run_id, metric)
                yield run.info.run_name, metric, [(p.step, p.value) for p in history]


def line_with(text: str, words: str) -> str:
    """The last line that holds these words."""
    lines = [line for line in text.splitlines() if words in line]
    assert lines, f"nobody said `{words}`:\n{text[-3000:]}"
    return lines[-1]


def wait_until(
    happens: Callable[[], object],
    *,
    alive: subprocess.Popen | None = None,
    said: Trainer | None = None,
    seconds: float = SECONDS_TO_WAIT,
) -> None:
    """Return when it happens; fail if it does not, or if the process that it needs is gone."""
    until = time.monotonic() + seconds
    while not happens():
        told = said.said[-3000:] if said else ""
        assert alive is None or alive.poll() is None, f"it ended before:\n{told}"
        assert time.monotonic() < until, f"it never happened:\n{told}"
        time.sleep(0.02)
