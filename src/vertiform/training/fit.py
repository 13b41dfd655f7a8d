"""Trains a LightningModule for a number of steps: the one loop of pretraining and fine-tuning."""

import copy
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule

from vertiform.evaluation import names
from vertiform.training.checkpoint_writer import CheckpointWriter, SafetensorsIO
from vertiform.training.checkpoints import RunCheckpoints
from vertiform.training.crew import crew_of
from vertiform.training.distributed import check_same, from_first, joined
from vertiform.training.feed import Feed, StepFlops
from vertiform.training.goal import Goal
from vertiform.training.hardware import applied, choose, compile_blocks
from vertiform.training.loop import (
    interrupts_passed_on,
    kept_in,
    lightning_trainer,
    quiet_lightning,
)
from vertiform.training.metrics import MetricSink, NoSink
from vertiform.training.pruning import Judge
from vertiform.training.sharded_writer import ShardedWriter
from vertiform.training.strategies import environment_of
from vertiform.training.trainer import TrainerParams, memory_kept

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a finished fit says of itself. `seconds` and the speed are of this process only.

    speed: evaluation.names to means over all training steps, and the most memory taken; empty if
           there was no step left to train.
    energy_method: how the energy that it logged was counted or estimated, for people.
    """

    best_metrics: dict[str, float]
    best_step: int
    steps: int
    seconds: float
    speed: dict[str, float]
    energy_method: str
    resumed_from_step: int | None

    @property
    def tokens_per_second(self) -> float:
        """Of the training steps; 0 if there was none left."""
        return self.speed.get(names.TOKENS_PER_SECOND, 0.0)


def fit(
    module: LightningModule,
    *,
    train_batches: Callable[[int], Iterable[Any]],
    validation_batches: Callable[[], Iterable[Any]],
    goal: Goal,
    trainer: TrainerParams,
    seed: int,
    checkpoints: Path | None,
    fingerprint: str,
    sink: MetricSink,
    what: str,
    step_flops: StepFlops | None = None,
    judge: Judge | None = None,
) -> FitResult:
    """Train `module` as far as `goal` says and leave the best validated weights in it.

    train_batches:      called with the first pass to run (0, or where a killed run goes on): step
                        times trainer.accumulation. Gives the batches of this pass to the last,
                        trainer.accumulation a step, and has no length (batches.loading.BatchRange).
                        The batch of a pass must be a pure function of the seed and its number.
    validation_batches: called once; iterated at each validation, and the same each time.
    checkpoints:        folder to go on from after a kill; None keeps none.
    fingerprint:        the run's identity (checkpoints.fingerprint_of); only the same run goes on.
    what:               a few words for the progress line, such as "pretrain software".
    step_flops:         the model FLOPs of a batch (training.flops); None logs none.
    judge:              asked after each validation whether to go on; None always goes on.

    Every batch has an int `num_tokens`, and `num_slots` if some of what is computed is padding.
    Each pass reseeds torch from (seed, its number), so dropout needs no carried state. Raises
    TrainingError when the loss stops being a number, and Pruned in every process when the judge
    ends the run. On SIGTERM, saves and exits with 143. A
    checkpoint that cannot be written is said, and training goes on. A module that GivesSamples
    (training.samples) is asked for them at each validation.
    """
    choices = choose(trainer)
    started = time.monotonic()
    with (
        joined(trainer.strategy, accelerator=trainer.accelerator) as own,
        kept_in(checkpoints) as root,
        applied(choices),
        memory_kept(),
        quiet_lightning(),
    ):
        check_same(fingerprint, what="configuration or data")
        sink = sink if own.rank == 0 else NoSink()
        run = RunCheckpoints.of(
            root, fingerprint=fingerprint, keeps_last=trainer.keeps_last_checkpoints
        )
        found = from_first(run.newest_whole)
        first_step = run.facts_of(found)["step"] if found else 0
        if found:
            logger.info("%s goes on from step %d of %d.", what, first_step, goal.total_steps)
        is_sharded = trainer.strategy == "fsdp"
        make_writer = ShardedWriter if is_sharded else CheckpointWriter
        with make_writer(run, sink=sink) as writer:
            feed = Feed(
                train_batches(first_step * trainer.accumulation),
                pins=choices.device == "cuda",
                step_flops=step_flops,
            )
            crew = crew_of(
                module,
                goal=goal,
                trainer=trainer,
                choices=choices,
                own=own,
                sink=sink,
                feed=feed,
                run=run,
                writer=writer,
                saves=checkpoints is not None,
                disk=root,
                seed=seed,
                what=what,
                judge=judge,
            )
            if found and first_step == goal.total_steps:  # killed between its last step and its end
                crew.keeper.remember(run.facts_of(found))
            else:
                lightning = lightning_trainer(
                    trainer,
                    choices,
                    goal,
                    callbacks=crew.callbacks,
                    plugins=[SafetensorsIO(writer), environment_of(trainer.strategy)],
                    own=own,
                    sink=sink,
                    root=root,
                )
                # A copy, because what is cut into shares cannot be made whole again in place.
                trained = copy.deepcopy(module) if is_sharded else module
                choices.say()
                if choices.compiles.value == "on":
                    compile_blocks(trained)
                with closing(feed), interrupts_passed_on(what, writer):
                    lightning.fit(trained, feed, validation_batches(), ckpt_path=found)
            best_step = crew.keeper.best_step
            assert best_step is not None  # the last step is always validated
            weights = writer.best_weights(best_step)
            if weights is not None:
                module.load_state_dict(weights)
    return FitResult(
        best_metrics=crew.keeper.best_metrics,
        best_step=best_step,
        steps=goal.total_steps,
        seconds=time.monotonic() - started,
        speed=crew.meter.speed,
        energy_method=crew.energy.method,
        resumed_from_step=first_step if found else None,
    )
