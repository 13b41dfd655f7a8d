"""What surrounds Lightning's loop: its Trainer, its folder, its signals and its voice."""

import functools
import logging
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from vertiform.training.callbacks.preemption import Preempted
from vertiform.training.checkpoint_writer import CheckpointWriter
from vertiform.training.distributed import Place, barrier, from_first
from vertiform.training.goal import Goal
from vertiform.training.hardware import Choices
from vertiform.training.metrics import MetricSink, SinkLogger
from vertiform.training.pruning import Pruned
from vertiform.training.strategies import strategy_of
from vertiform.training.trainer import TrainerParams

EXIT_TERMINATED = 128 + signal.SIGTERM

logger = logging.getLogger(__name__)


def lightning_trainer(
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
def kept_in(checkpoints: Path | None) -> Iterator[Path]:
    """Give the folder, made if absent; for None one that is gone after the block."""
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
        yield checkpoints
    else:
        with ExitStack() as removed:
            make = functools.partial(tempfile.TemporaryDirectory, prefix="vertiform-fit-")
            yield Path(from_first(lambda: removed.enter_context(make())))


@contextmanager
def interrupts_passed_on(what: str, writer: CheckpointWriter) -> Iterator[None]:
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
    except Pruned as pruned:
        writer.wait()
        barrier()
        logger.info("%s was pruned after step %d.", what, pruned.step)
        raise
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ended
        raise


@contextmanager
def quiet_lightning() -> Iterator[None]:
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
