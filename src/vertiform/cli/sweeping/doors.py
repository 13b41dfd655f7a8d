"""How a trial is trained: by the functions that `vertiform pretrain` and `finetune` train with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vertiform.cli import finetune, identity, pretrain, session
from vertiform.cli.compose import instantiate
from vertiform.cli.sweeping.jobs import Config

if TYPE_CHECKING:
    from vertiform.tasks.rows import Row, TaskData
    from vertiform.tracking.store import Store
    from vertiform.training.workload import Text


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a trial came to. model: the folder of its weights, for as long as the trial lasts."""

    metrics: dict[str, float]
    model: Path
    energy_method: str


class Door(Protocol):
    """Trains the trials of one sweep, and opens what they read once."""

    @property
    def experiment(self) -> str:
        """What MLflow's experiment is named after."""
        ...

    @property
    def data(self) -> list[Path]:
        """The files and folders that every trial reads."""
        ...

    @property
    def data_sha256(self) -> str:
        """What they hold."""
        ...

    def own(self, config: Config) -> Config:
        """The part of a trial's configuration that it trains by."""
        ...

    def largest_accumulation(self, config: Config) -> int:
        """In how many parts a step's batch can be read at most."""
        ...

    def train(self, config: Config, **place: Any) -> Trained:
        """Train one trial. place: out, fingerprint, trainer, sink and judge, as training has them.

        Raises what the training raises, Pruned too.
        """
        ...


def open_door(name: str, config: Config, *, store: "Store | None") -> Door:
    """Open what the trials of a sweep over the door `name` read, as `config` says.

    store: None in a process that trains beside the first one of a launcher.
    """
    return _Finetune(config, store) if name == "finetune" else _Pretrain(config, store)


class _Pretrain:
    def __init__(self, config: Config, store: "Store | None") -> None:
        self._store = store
        self.data = [pretrain.tokens_of(config["domain"]), *pretrain.read_besides(config)]
        self.experiment = "pretrain"
        self._text: Text = pretrain.text_of(config, tokens=self.data[0])

    @cached_property
    def data_sha256(self) -> str:
        from vertiform.corpus.manifest import read_manifest

        folders = {self._text.domain: self._text.tokens, **self._text.replay}
        return " ".join(read_manifest(f, domain=name).data_sha256 for name, f in folders.items())

    def own(self, config: Config) -> Config:
        return config

    def largest_accumulation(self, config: Config) -> int:
        return config["batches"]["windows_per_batch"]

    def train(self, config: Config, **place: Any) -> Trained:
        from vertiform.training.distributed import from_first

        start, _ = from_first(lambda: pretrain.start_of(config, self._store))
        result = pretrain.train_language_model(config, self._text, start=start, **place)
        return Trained(
            metrics=result.metrics,
            model=result.out,
            energy_method=result.fit.energy_method,
        )


class _Finetune:
    """A trial trains from one start, `start` of its configuration, instead of from each of them."""

    def __init__(self, config: Config, store: "Store | None") -> None:
        from vertiform.tasks.task import open_task

        self._store = store
        tasks, self._pretrained = finetune.places_of(config)
        self._data: TaskData = open_task(instantiate(config["task"]), tasks)
        self.data = [tasks, self._pretrained]
        self.experiment = self._data.name

    @cached_property
    def data_sha256(self) -> str:
        read = [sorted(self._data.sha256.items()), identity.weights_sha256(self._pretrained)]
        return " ".join(map(str, read))

    def own(self, config: Config) -> Config:
        start = config["start"]
        others = {key: value for key, value in config.items() if key != "starts"}
        return others | {"start": config["starts"][start], "start_name": start}

    def largest_accumulation(self, config: Config) -> int:
        return config["batches"]["examples_per_batch"]

    def validation_rows(self) -> "Sequence[Row]":
        return self._data.splits["validation"]

    def train(self, config: Config, **place: Any) -> Trained:
        name = config["start"]
        weights: str = config["starts"][name]["weights"]
        assert self._store is not None, "fine-tuning trains in one process"
        result = finetune.train_start(
            config,
            self._data,
            name,
            fetched=session.fetched_start(self._store, weights, into=identity.FETCHED),
            pretrained=self._pretrained,
            checkpoints=identity.UNFINISHED,
            **place,
        )
        return Trained(
            metrics=result.metrics,
            model=result.bundle,
            energy_method=result.fit.energy_method,
        )
