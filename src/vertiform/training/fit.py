"""Trains a LightningModule for a number of steps: the one loop of pretraining and fine-tuning."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule

from vertiform.training.metrics import MetricSink
from vertiform.training.trainer import TrainerParams


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a finished fit says of itself. `seconds` and the speed are of this process only."""

    best_metrics: dict[str, float]
    best_step: int
    steps: int
    seconds: float
    tokens_per_second: float
    resumed_from_step: int | None


def fit(
    module: LightningModule,
    *,
    train_batches: Callable[[int], Iterable[Any]],
    validation_batches: Callable[[], Iterable[Any]],
    total_steps: int,
    validate_every_steps: int,
    monitor: str,
    mode: Literal["min", "max"],
    gradient_clip_norm: float,
    trainer: TrainerParams,
    seed: int,
    checkpoints: Path | None,
    fingerprint: str,
    sink: MetricSink,
    what: str,
) -> FitResult:
    """Train `module` for `total_steps` steps and leave the best validated weights in it.

    train_batches:      called with the first step to run (0, or where a killed run goes on); gives
                        one batch a step from there. The batch of step s must be a pure function of
                        the seed and s; the iterable may be endless.
    validation_batches: called before each validation; must give the same batches every time.
    monitor, mode:      the metric `module` logs in validation, by which the best weights are chosen.
    checkpoints:        folder to go on from after a kill; None keeps none.
    fingerprint:        identity of the run (checkpoints.fingerprint_of); only the same run goes on.
    what:               a few words for the progress line, such as "pretrain software".

    Every batch has an int `num_tokens`, counted for the speed. Each step reseeds torch from
    (seed, step), so dropout needs no carried state. Validation also runs after the last step.
    Raises TrainingError when the loss stops being a number.
    """
    raise NotImplementedError
