"""Trains a LightningModule for a number of steps: the one loop of pretraining and fine-tuning."""

import copy
import functools
import logging
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.training.callbacks.dropout import CountedDropout
from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.keeper import Keeper
from vertiform.training.callbacks.meter import Meter
from vertiform.training.callbacks.preemption import Preempted, Preemption
from vertiform.training.callbacks.progress import Progress
from vertiform.training.callbacks.shared_preemption import SharedPreemption
from vertiform.training.checkpoint_writer import CheckpointWriter, SafetensorsIO
from vertiform.training.checkpoints import RunCheckpoints
from vertiform.training.distributed import Place, barrier, check_same, from_first, joined
from vertiform.training.feed import Feed, StepFlops
from vertiform.training.hardware import Choices, applied, choose, compile_blocks
from vertiform.training.metrics import MetricSink, NoSink, SinkLogger
from vertiform.training.sharded_writer import ShardedWriter
from vertiform.training.strategies import environment_of, strategy_of
from vertiform.training.trainer import TrainerParams, memory_kept

EXIT_TERMINATED = 128 + signal.SIGTERM

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a finished fit says of itself. `seconds` and the speed are of this process only.

    speed: evaluation.names to means over all training steps, and the most memory taken; empty if
           there was no step left to train.
    """

    best_metrics: dict[str, float]
    best_step: int
    steps: int
    seconds: float
    speed: dict[str, float]
    resumed_from_step: int | None

    @property
    def tokens_per_second(self) -> float:
        """Of the training steps; 0 if there was none left."""
        return self.speed.get(names.TOKENS_PER_SECOND, 0.0)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """How far a fit goes, in steps of the optimiser, and by what its best weights are chosen.

    monitor, mode:      a metric of validation, and whether less ("min") or more of it is better.
    gradient_clip_norm: a longer gradient (2-norm over all parameters) is scaled down to this.

    Validation also runs after the last step.
    """

    total_steps: int
    validate_every_steps: int
    monitor: str
    mode: Literal["min", "max"]
    gradient_clip_norm: float

    def __post_init__(self) -> None:
        if self.total_steps < 1 or self.validate_every_steps < 1:
            raise ConfigError(
                f"A run of {self.total_steps} steps, validated every {self.validate_every_steps}, "
                "is none.",
                fix="set both to 1 or more under budget:.",
            )


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

    Every batch has an int `num_tokens`, and `num_slots` if some of what is computed is padding.
    Each pass reseeds torch from (seed, its number), so dropout needs no carried state. Raises
    TrainingError when the loss stops being a number. On SIGTERM, saves and exits with 143. A
    checkpoint that cannot be written is said, and training goes on.
    """
    choices = choose(trainer)
    started = time.monotonic()
    with (
        joined(trainer.strategy, accelerator=trainer.accelerator) as own,
        _kept_in(checkpoints) as root,
        applied(choices),
        memory_kept(),
        _quiet_lightning(),
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
        with ShardedWriter(run) if is_sharded else CheckpointWriter(run) as writer:
            feed = Feed(
                train_batches(first_step * trainer.accumulation),
                pins=choices.device == "cuda",
                step_flops=step_flops,
            )
            health = Health(gradient_clip_norm=goal.gradient_clip_norm)
            meter = Meter(
                sink=sink,
                health=health,
                feed=feed,
                peak_flops=choices.peak_flops,
                every_steps=trainer.log_every_steps,
            )
            preemption = SharedPreemption() if own.ranks > 1 else Preemption()
            keeper = Keeper(
                run=run,
                writer=writer,
                health=health,
                preemption=preemption,
                every_steps=trainer.checkpoint_every_steps if checkpoints else None,
                validate_every_steps=goal.validate_every_steps,
                total_steps=goal.total_steps,
                monitor=goal.monitor,
                mode=goal.mode,
            )
            if found and first_step == goal.total_steps:  # killed between its last step and its end
                keeper.remember(run.facts_of(found))
            else:
                progress = Progress(
                    what=what,
                    total_steps=goal.total_steps,
                    monitor=goal.monitor,
                    meter=meter,
                    health=health,
                )
                lightning = _lightning_trainer(
                    trainer,
                    choices,
                    goal,
                    callbacks=[
                        CountedDropout(seed=seed),
                        *(preemption, health, meter),
                        *([progress] if own.rank == 0 else []),
                        keeper,  # after the meter: what is saved has been logged
                    ],
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
                with _interrupts_passed_on(what, writer):
                    lightning.fit(trained, feed, validation_batches(), ckpt_path=found)
            assert keeper.best_step is not None  # the last step is always validated
            weights = writer.best_weights(keeper.best_step)
            if weights is not None:
                module.load_state_dict(weights)
    return FitResult(
        best_metrics=keeper.best_metrics,
        best_step=keeper.best_step,
        steps=goal.total_steps,
        seconds=time.monotonic() - started,
        speed=meter.speed,
        resumed_from_step=first_step if found else None,
    )


def _lightning_trainer(
    trainer: TrainerParams,
    choices: Choices,
    goal: Goal,
    *,
    callbacks: list[Callback],
    plugins: list[Any],
    own: Place,
    sink: MetricSink,
    root: Path,
) -> Trainer:
    """A Lightning Trainer that keeps, prints and logs nothing by itself: our callbacks do."""
    sink_logger = SinkLogger(sink, completed_steps=lambda: lightning.global_step)
    lightning = Trainer(
        accelerator=choices.device,
        strategy=strategy_of(trainer.strategy),
        devices=own.local_ranks,
        num_nodes=own.machines,
        precision=choices.precision.value,  # type: ignore[arg-type]
        max_steps=goal.total_steps,
        max_epochs=1,  # Lightning's: to it a run is one series, however often the data comes
        accumulate_grad_batches=trainer.accumulation,
        val_check_interval=goal.validate_every_steps * trainer.accumulation,
        check_val_every_n_epoch=None,
        log_every_n_steps=trainer.log_every_steps,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        # What FSDP2 gathers in validation it may keep for training, which inference mode forbids.
        inference_mode=trainer.strategy != "fsdp",
        plugins=plugins,
        callbacks=callbacks,
        logger=sink_logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=root,
    )
    return lightning


@contextmanager
def _kept_in(checkpoints: Path | None) -> Iterator[Path]:
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
        yield checkpoints
    else:
        with ExitStack() as removed:
            make = functools.partial(tempfile.TemporaryDirectory, prefix="vertiform-fit-")
            yield Path(from_first(lambda: removed.enter_context(make())))


@contextmanager
def _interrupts_passed_on(what: str, writer: CheckpointWriter) -> Iterator[None]:
    """End as a process should that was asked to: Lightning exits with 1, which says "refused"."""
    try:
        yield
    except Preempted:
        writer.wait()
        barrier()  # a launcher ends the others as soon as one has ended
        if writer.saved_step is None:
            logger.warning("%s was asked to end, and is not saved.", what)
        else:
            logger.info(
                "%s was asked to end, and is saved as of step %d; run it again to go on.",
                *(what, writer.saved_step),
            )
        raise SystemExit(EXIT_TERMINATED) from None
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ended
        raise


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips, banners and warnings from the user; what matters we say ourselves."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
