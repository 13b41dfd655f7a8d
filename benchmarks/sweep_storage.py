"""A study's storage: its trials a second beside Optuna's journal file, and how long an ask takes.

Called by benchmarks.sweep; by itself: `python -m benchmarks.sweep_storage [--smoke]`. What a
storage is asked in a real study is recorded once, and then played back to each storage in turn.
"""

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks import report
from benchmarks.measure import ROOT, in_turn, limit_row, row
from vertiform.sweeps.storage import open_storage

PEER_IS = "Optuna's JournalFileBackend, the same calls"
SPACE: Mapping[str, BaseDistribution] = {
    "optimizer.lr": FloatDistribution(1e-5, 1e-2, log=True),
    "optimizer.weight_decay": FloatDistribution(0.0, 0.1),
    "schedule.warmup_fraction": FloatDistribution(0.0, 0.3),
    "network.dropout": FloatDistribution(0.0, 0.5),
    "budget.epochs": IntDistribution(2, 12),
    "optimizer": CategoricalDistribution(["adamw", "muon", "sgd"]),
}
NUM_REPORTS = 10
SPEC = {"trials": 100, "rounds": 15, "asked": 2000, "asks": 30}
SMOKE = {"trials": 20, "rounds": 1, "asked": 50, "asks": 3}
Row = dict[str, Any]


@dataclass
class Recorder:
    """Keeps what a storage is asked from outside, and answers as the storage in memory does."""

    calls: list[tuple[str, tuple, dict[str, Any]]] = field(default_factory=list)
    is_inside: bool = False

    def storage(self) -> BaseStorage:
        """Return a storage whose public methods are recorded; those they call are not."""
        names = [name for name in vars(InMemoryStorage) if name[0] != "_"]
        inherited = [name for name in vars(BaseStorage) if name[0] != "_" and name not in names]
        methods = {
            name: self._recorded(getattr(InMemoryStorage, name))
            for name in (*names, *inherited)
            if callable(getattr(InMemoryStorage, name))
        }
        return type("Recorded", (InMemoryStorage,), methods)()

    def _recorded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def recorded(storage: BaseStorage, *args: Any, **kwargs: Any) -> Any:
            if self.is_inside:
                return method(storage, *args, **kwargs)
            self.calls.append((method.__name__, args, kwargs))
            self.is_inside = True
            try:
                return method(storage, *args, **kwargs)
            finally:
                self.is_inside = False

        return recorded


def rows(*, is_smoke: bool = False) -> list[Row]:
    """Measure both, in one process of their own."""
    before = os.getloadavg()[0]
    (found,) = in_turn("sweep_storage", ("all",), SMOKE if is_smoke else SPEC, rounds=1)["all"]
    loads = f"load before {before:.1f}, after {os.getloadavg()[0]:.1f}"
    return [_storage_row(found, loads), _ask_row(found, loads)]


def _storage_row(found: Row, loads: str) -> Row:
    sides = {side: _per_second(found["trials"], found[side]) for side in ("ours", "peer")}
    memory = found["trials"] / median(found["memory"])
    said = f"the same trials after it; in memory {memory:,.0f} a second; {loads}"
    made = row("storage of a study, durable", 5, **sides, peer_is=PEER_IS, key="trials_per_second")
    return made | {"checked": said}


def _per_second(trials: int, seconds: Sequence[float]) -> list[dict[str, float]]:
    return [{"trials_per_second": trials / each} for each in seconds]


def _ask_row(found: Row, loads: str) -> Row:
    return limit_row(
        f"ask in a study of {found['asked']:,} trials, TPE",
        found["ask_ms"],
        limit=50,
        measure="milliseconds",
        checked=f"{len(SPACE)} parameters; in memory {median(found['memory_ask_ms']):.1f}; opened "
        f"in {found['open_seconds']:.2f} s; {loads}",
    )


def measure(spec: Mapping[str, int], folder: Path) -> Row:
    """Play a study's calls back to each storage in turn, then ask in a large study."""
    calls = _recorded_calls(spec["trials"])
    makes: dict[str, Callable[[Path], BaseStorage]] = {
        "ours": lambda place: open_storage(place, None, 10)[0],
        "peer": lambda place: JournalStorage(JournalFileBackend(str(place / "journal.log"))),
        "memory": lambda _: InMemoryStorage(),
    }
    found: Row = {side: [] for side in makes} | dict(spec)
    for turn in range(spec["rounds"]):
        kept = {}
        for side, make in makes.items():
            place = folder / f"{side}.{turn}"
            place.mkdir()
            storage = make(place)
            found[side].append(_seconds_to_play(calls, storage))
            kept[side] = [(t.number, t.state, t.params, t.values) for t in _trials(storage)]
        assert kept["ours"] == kept["peer"] == kept["memory"]
    return found | _asks(spec, folder / "asks")


def _recorded_calls(num_trials: int) -> Sequence[tuple[str, tuple, dict[str, Any]]]:
    """What a storage is asked by a study: parameters, reports, pruning, an attribute a trial."""
    recorder = Recorder()
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    study = optuna.create_study(
        storage=recorder.storage(), sampler=RandomSampler(seed=1), pruner=pruner, study_name="one"
    )
    study.optimize(_objective, n_trials=num_trials)
    return recorder.calls


def _objective(trial: optuna.Trial) -> float:
    trial.set_user_attr("run", f"{trial.number:032x}")
    drawn = {key: trial._suggest(key, dimension) for key, dimension in SPACE.items()}
    loss = sum(value for value in drawn.values() if isinstance(value, float))
    for step in range(NUM_REPORTS):
        trial.report(loss + 1 / (1 + step), 20 * step)
        trial.should_prune()  # every trial goes on: all have as many records
    return loss


def _seconds_to_play(
    calls: Sequence[tuple[str, tuple, dict[str, Any]]], storage: BaseStorage
) -> float:
    started = time.perf_counter()
    for name, args, kwargs in calls:
        getattr(storage, name)(*args, **kwargs)
    return time.perf_counter() - started


def _trials(storage: BaseStorage) -> list[optuna.trial.FrozenTrial]:
    return storage.get_all_trials(storage.get_all_studies()[0]._study_id)


def _asks(spec: Mapping[str, int], folder: Path) -> Row:
    """Time single asks, with every parameter, by the preset of conf/sampler/tpe.yaml."""
    made = {"ours": open_storage(folder, None, 10)[0], "memory": InMemoryStorage()}
    milliseconds = {}
    for side, storage in made.items():
        study = optuna.create_study(storage=storage, study_name="one", sampler=_tpe())
        _fill(study, spec["asked"])
        milliseconds[side] = [_ask_ms(study) for _ in range(spec["asks"])]
    started = time.perf_counter()
    optuna.load_study(storage=open_storage(folder, None, 10)[0], study_name="one")
    return {
        "ask_ms": milliseconds["ours"],
        "memory_ask_ms": milliseconds["memory"],
        "open_seconds": time.perf_counter() - started,
    }


def _tpe() -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return instantiate(OmegaConf.load(ROOT / "conf/sampler/tpe.yaml"), seed=1)


def _fill(study: optuna.Study, num_trials: int) -> None:
    """Put trials there that were drawn at random and have ended."""
    drawing = optuna.create_study(sampler=RandomSampler(seed=1))
    for _ in range(num_trials):
        trial = drawing.ask()
        drawing.tell(trial, _objective(trial))
    study.add_trials(drawing.get_trials(deepcopy=False))


def _ask_ms(study: optuna.Study) -> float:
    started = time.perf_counter()
    trial = study.ask()
    for key, dimension in SPACE.items():
        trial._suggest(key, dimension)
    milliseconds = 1000 * (time.perf_counter() - started)
    study.tell(trial, 1.0)
    return milliseconds


def main() -> None:
    """Measure, as a process of its own or for the report."""
    if sys.argv[1:2] == ["all"]:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with tempfile.TemporaryDirectory(prefix="sweep-storage-") as folder:
            print(json.dumps(measure(json.loads(sys.argv[2]), Path(folder))))
        return
    is_smoke = sys.argv[1:] == ["--smoke"]
    report.add(rows(is_smoke=is_smoke), smoke=is_smoke)


if __name__ == "__main__":
    main()
