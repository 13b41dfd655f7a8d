"""The callbacks of a fit, put together."""

from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Callback, LightningModule

from vertiform.training.callbacks.dropout import CountedDropout
from vertiform.training.callbacks.health import Health
from vertiform.training.callbacks.judging import Judging
from vertiform.training.callbacks.keeper import Keeper
from vertiform.training.callbacks.meter import Meter
from vertiform.training.callbacks.preemption import Preemption
from vertiform.training.callbacks.progress import Progress
from vertiform.training.callbacks.shared_preemption import SharedPreemption
from vertiform.training.callbacks.show import Show
from vertiform.training.callbacks.watch import Watch
from vertiform.training.checkpoint_writer import CheckpointWriter
from vertiform.training.checkpoints import RunCheckpoints
from vertiform.training.distributed import Place, from_first
from vertiform.training.energy import Energy, counters_of
from vertiform.training.feed import Feed
from vertiform.training.goal import Goal
from vertiform.training.gpus import gpus_of, uuids_of
from vertiform.training.hardware import Choices
from vertiform.training.machine import Machine
from vertiform.training.metrics import MetricSink
from vertiform.training.pruning import Judge
from vertiform.training.samples import GivesSamples
from vertiform.training.trainer import TrainerParams


@dataclass(frozen=True, kw_only=True)
class Crew:
    """All callbacks in the order in which they are called, and those that are asked afterwards."""

    callbacks: list[Callback]
    meter: Meter
    keeper: Keeper
    energy: Energy


def crew_of(
    module: LightningModule,
    *,
    goal: Goal,
    trainer: TrainerParams,
    choices: Choices,
    own: Place,
    sink: MetricSink,
    feed: Feed,
    run: RunCheckpoints,
    writer: CheckpointWriter,
    saves: bool,
    disk: Path,
    seed: int,
    what: str,
    judge: Judge | None,
) -> Crew:
    """Put together what goes with the training of `module`; its arguments are those of fit.

    saves: whether there are checkpoints to go on from. disk: the folder that they are written to.
    """
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
        every_steps=trainer.checkpoint_every_steps if saves else None,
        validate_every_steps=goal.validate_every_steps,
        total_steps=goal.total_steps,
        monitor=goal.monitor,
        mode=goal.mode,
    )
    progress = Progress(
        what=what, total_steps=goal.total_steps, monitor=goal.monitor, meter=meter, health=health
    )
    watch, energy = _watching(
        trainer, choices, own=own, sink=sink, kept=run.energy if saves else None, disk=disk
    )
    callbacks: list[Callback] = [
        CountedDropout(seed=seed),
        *(preemption, health, meter, watch),
        *([progress] if own.rank == 0 else []),
        *([Show(sink)] if isinstance(module, GivesSamples) else []),
        *_judging(judge, goal=goal, health=health),
        keeper,  # last: what is saved has been logged
    ]
    return Crew(callbacks=callbacks, meter=meter, keeper=keeper, energy=energy)


def _judging(judge: Judge | None, *, goal: Goal, health: Health) -> list[Callback]:
    """What asks the judge: in every process if the first has one, since all wait for its answer."""
    if not from_first(lambda: judge is not None):
        return []
    monitor, total_steps = goal.monitor, goal.total_steps
    return [Judging(judge, health=health, monitor=monitor, total_steps=total_steps)]


def _watching(
    trainer: TrainerParams,
    choices: Choices,
    *,
    own: Place,
    sink: MetricSink,
    kept: Path | None,
    disk: Path,
) -> tuple[Watch, Energy]:
    is_first = own.rank == 0
    on_gpu = choices.device == "cuda"
    mine = range(own.local_rank, own.local_rank + 1) if on_gpu else range(0)
    energy = Energy(
        counters_of(own, gpus=gpus_of(uuids_of(mine)), on_gpu=on_gpu),
        country_iso_code=trainer.country_iso_code,
        kept=kept if is_first else None,
    )
    of_machine = range(own.local_ranks) if on_gpu else range(0)
    machine = Machine(disk=disk, gpus=gpus_of(uuids_of(of_machine))) if is_first else None
    watch = Watch(
        sink=sink, machine=machine, energy=energy, every_seconds=trainer.system_every_seconds
    )
    return watch, energy
