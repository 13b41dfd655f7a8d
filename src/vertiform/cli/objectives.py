"""By what a sweep compares its trials: conf/sweep.yaml's `objectives`, one or several."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vertiform.errors import ConfigError, did_you_mean
from vertiform.evaluation import names as metric_names

QUALITY, LATENCY, SIZE = "quality", "latency", "size"
KNOWN = (QUALITY, LATENCY, SIZE)

NUM_REQUESTS = 200  # timed, one at a time
NUM_WARM_UP = 20  # before them, not timed

BYTES_PER_MEGABYTE = 10**6


class Trained(Protocol):
    """What training came to."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Of the best validation, the monitor's among them."""
        ...

    @property
    def model(self) -> Path:
        """The folder that was written."""
        ...


class Validating(Protocol):
    """What trains the trials of a sweep over fine-tuning."""

    def validation_rows(self) -> Sequence[Mapping[str, Any]]:
        """The labelled rows of the validation split."""
        ...


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """What is compared, in the order in which it was asked for.

    asked:   words of conf/sweep.yaml: `quality` is the door's monitor, `latency` what 19 of 20
             requests to the model stay within, one text of the validation split at a time, on the
             CPU with trainer.threads threads, and `size` that of its weights.
    monitor: the metric that `quality` is.

    Latency is measured in the worker that trained, beside what else the machine does.
    """

    asked: tuple[str, ...]
    monitor: str

    @classmethod
    def of(cls, asked: Sequence[str], *, door: str, config: Mapping[str, Any]) -> "Objectives":
        """Raise ConfigError for words that are none, come twice, or say nothing of this door."""
        _check(asked, door=door)
        return cls(asked=tuple(asked), monitor=config["monitor"])

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics' names: val/f1_macro, say."""
        names = {
            QUALITY: self.monitor,
            LATENCY: metric_names.REQUEST_P95_MILLISECONDS,
            SIZE: metric_names.WEIGHTS_MEGABYTES,
        }
        return tuple(names[word] for word in self.asked)

    @property
    def directions(self) -> list[str]:
        """Which way each is better, in Optuna's words."""
        lower = map(metric_names.is_lower_better, self.names)
        return ["minimize" if is_lower else "maximize" for is_lower in lower]

    def values_of(self, trained: Trained, *, door: Any, config: Mapping[str, Any]) -> list[float]:
        """Measure what a trial came to. door: a Validating, if latency is asked for."""
        measures = {
            QUALITY: lambda: trained.metrics[self.monitor],
            LATENCY: lambda: request_p95_milliseconds(
                trained.model, door, threads=config["trainer"]["threads"]
            ),
            SIZE: lambda: weights_megabytes(trained.model),
        }
        return [float(measures[word]()) for word in self.asked]


def request_p95_milliseconds(model: Path, door: Validating, *, threads: int) -> float:
    """Send validation texts to the model in the folder `model`, the same ones in every trial."""
    from vertiform.evaluation.bootstrap import Resampling
    from vertiform.evaluation.latency import p95_interval
    from vertiform.evaluation.robustness import chosen_rows
    from vertiform.inference.predictor import Predictor
    from vertiform.inference.timing import request_milliseconds
    from vertiform.training.trainer import cpu_threads

    rows = chosen_rows(door.validation_rows(), max_rows=NUM_REQUESTS, seed=0)
    with cpu_threads(threads):
        milliseconds = request_milliseconds(
            Predictor.load(model),
            [row["text"] if "text" in row else " ".join(row["tokens"]) for row in rows],
            num_requests=NUM_REQUESTS,
            num_warm_up=NUM_WARM_UP,
        )
    # Of its value alone: no interval, so one resample is enough.
    alone = Resampling(seed=0, resamples=1, confidence=0.95)
    return p95_interval(milliseconds, resampling=alone).value


def weights_megabytes(model: Path) -> float:
    """Return the size of all weights in the folder `model`."""
    found = [path.stat().st_size for path in model.glob("*.safetensors")]
    assert found, f"{model} has no weights"
    return sum(found) / BYTES_PER_MEGABYTE


def _check(asked: Sequence[str], *, door: str) -> None:
    if isinstance(asked, str) or not asked:
        raise ConfigError(
            f"objectives is `{asked}`, which is no list of what to compare.",
            fix="write objectives=[quality], or several of quality, latency and size.",
        )
    for word in asked:
        if word not in KNOWN:
            raise ConfigError(
                f"objectives names `{word}`, which is nothing to compare trials by.",
                fix=did_you_mean(str(word), KNOWN),
            )
    twice = [word for word, times in Counter(asked).items() if times > 1]
    if twice:
        raise ConfigError(f"objectives names {twice[0]} twice.", fix=f"name {twice[0]} once.")
    if LATENCY in asked and door != "finetune":
        raise ConfigError(
            f"A model that {door} trains answers no requests, so it has no latency.",
            fix="leave latency out; objectives=[quality,size] compares what there is.",
        )
