"""A run killed at any moment, then started again by the same command, ends in the same bits.

The kills come from a seed: VERTIFORM_KILL_SEED=<n> pytest -m kill tests/training/test_kills.py
replays them (to the step; within a step, chance decides). VERTIFORM_KILL_LOG=<file> tells each.
"""

import dataclasses
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.small import (
    classification_task,
    entities_task,
    high_or_low,
    ones_and_twos,
    tiny_checkpoint,
)
from tests.training import test_finetune
from tests.training.kills import (
    Story,
    Train,
    assert_same_bits,
    killed_again_and_again,
    left_alone,
)
from tests.training.tiny import MLM, MODEL, pretrain_tiny, trainer_with
from vertiform.models.decoder import DecoderParams
from vertiform.tasks.rows import read_task
from vertiform.training.budget import Budget
from vertiform.training.objectives.clm import CausalLm
from vertiform.training.objectives.mlm_nsp import MaskedLmWithNextSentence
from vertiform.training.objectives.rtd import ReplacedTokens

SEED = int(os.environ.get("VERTIFORM_KILL_SEED", "0"))
STEPS = 60  # a little over an epoch
EPOCH = 48  # steps of the first epoch, at least: all kills come within them
KILLS = 6  # of one run


def pretraining(**changes: Any) -> Train:
    """Pretraining by a recipe with `changes`; an epoch is 50 steps or a few more."""

    def train(folder, name, trainer, sink):
        budget = Budget(total_steps=STEPS, validate_every_steps=10)
        pretrain_tiny(folder, name, budget=budget, trainer=trainer, sink=sink, **changes)

    return train


def finetuning(write: Callable[..., Path], rows: list[dict[str, Any]], *, monitor: str) -> Train:
    """Fine-tuning on `rows`, 50 steps of them: the epoch."""

    def train(folder, name, trainer, sink):
        task = folder / monitor.replace("/", "-")
        if not task.exists():
            tiny_checkpoint(folder)
            write(task, train=rows)
        test_finetune.run(
            read_task(task),
            folder / "pretrained",
            folder / name,
            start=replace(test_finetune.START, epochs=2),
            recipe=replace(test_finetune.RECIPE, monitor=monitor, validate_every_epochs=1),
            checkpoints=folder / "checkpoints",
            fingerprint=name,
            trainer=trainer,
            sink=sink,
        )

    return train


DECODER = DecoderParams(**dataclasses.asdict(MODEL))
RTD = ReplacedTokens(masked=MLM, generator_fraction=0.5, discriminator_weight=50.0)
ROWS = 50 * test_finetune.RECIPE.batches.examples_per_batch
WORKS: dict[str, Train] = {
    "mlm": pretraining(),
    "mlm_nsp": pretraining(objective=MaskedLmWithNextSentence(masked=MLM), monitor="val/loss_nats"),
    "rtd": pretraining(objective=RTD, monitor="val/loss_nats"),
    "clm": pretraining(objective=CausalLm(), model=DECODER),
    "classification": finetuning(
        classification_task, high_or_low(ROWS, seed=7), monitor="val/f1_macro"
    ),
    "entities": finetuning(entities_task, ones_and_twos(ROWS, seed=7), monitor="val/entity_f1"),
}


@pytest.fixture(scope="module")
def log():
    """Takes the stories of all runs, and tells them to the file that was asked for."""
    stories: list[Story] = []
    yield stories
    path = os.environ.get("VERTIFORM_KILL_LOG")
    if path:
        lines = [line for story in stories for line in story.lines()]
        same = sum(story.ended_in_same_bits for story in stories)
        head = (
            f"{len(lines)} kills in {len(stories)} runs, of which {same} ended in the weights, the "
            "optimiser's state and the points of a run left alone, bit for bit"
        )
        Path(path).write_text("\n".join([head, *lines, ""]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kills")


def trainer_of(*, workers: int, accumulation: int):
    return trainer_with(loader_workers=workers, accumulation=accumulation, checkpoint_every_steps=3)


def kill_and_compare(folder, log, *, work: str, workers: int, accumulation: int, kills: int):
    """Kill a run `kills` times within its first epoch; each must go on from a checkpoint."""
    whole = f"{work}-{accumulation}-whole"
    if not (folder / whole).exists():
        trainer = trainer_of(workers=0, accumulation=accumulation)
        left_alone(WORKS[work], folder, whole, trainer)
    rng = random.Random(f"{SEED} {work} {workers}")
    third = EPOCH // kills  # one kill in each
    at_steps = [third * n + rng.randint(1, third - 2) for n in range(kills)]
    story = Story(work=work, seed=SEED, workers=workers, accumulation=accumulation)
    name = f"{work}-{accumulation}-{workers}"
    journals = killed_again_and_again(
        WORKS[work],
        folder,
        name,
        trainer_of(workers=workers, accumulation=accumulation),
        at_steps=at_steps,
        story=story,
    )
    log.append(story)
    assert_same_bits(folder, name, whole, journals)
    assert [kill.saved for kill in story.kills] == story.went_on_from
    story.ended_in_same_bits = True
    assert any(kill.in_write for kill in story.kills), "none was killed while writing"
    return story


@pytest.mark.slow
def test_a_run_killed_twice_for_real_ends_in_the_same_bits(folder, log):
    story = kill_and_compare(folder, log, work="mlm", workers=0, accumulation=2, kills=2)
    assert len(story.kills) == 2


@pytest.mark.kill
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("work", WORKS)
def test_kills_in_one_epoch_change_no_bit(folder, log, work, workers):
    accumulation = 1 if workers == 1 else 2
    kill_and_compare(
        folder, log, work=work, workers=workers, accumulation=accumulation, kills=KILLS
    )
