"""What a run says of its speed, shown with batches whose time and tokens are known."""

import time
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from tests.training.tiny import trainer_with
from vertiform.evaluation import names
from vertiform.training.feed import Feed
from vertiform.training.fit import fit
from vertiform.training.goal import Goal
from vertiform.training.metrics import MemorySink

SECONDS_TO_MAKE = 0.01
SECONDS_TO_TRAIN = 0.03


class Padded(NamedTuple):
    number: int
    x: Tensor
    num_tokens: int
    num_slots: int


class Slow(LightningModule):
    """Takes its time for a batch, and tells the batch's number as a point of training."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: Padded, batch_index: int):
        time.sleep(SECONDS_TO_TRAIN)
        loss = (self.weight * batch.x).sum()
        return {"loss": loss, "points": {"train/number": torch.tensor(float(batch.number))}}

    def validation_step(self, batch: Padded, batch_index: int) -> None:
        time.sleep(SECONDS_TO_TRAIN)
        self.log("val/loss", (self.weight * batch.x).sum(), batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


class Batches:
    """Numbered batches that take their time to come."""

    def __init__(self, first: int, last: int) -> None:
        self._numbers = range(first, last)

    def __iter__(self):
        for number in self._numbers:
            time.sleep(SECONDS_TO_MAKE)
            yield Padded(number, torch.ones(1), num_tokens=60, num_slots=80)


def run(sink: MemorySink, *, accumulation: int, total_steps: int = 6):
    return fit(
        Slow(),
        train_batches=lambda first: Batches(first, total_steps * accumulation),
        validation_batches=lambda: Batches(0, 2),
        goal=Goal(
            total_steps=total_steps,
            validate_every_steps=2,
            monitor="val/loss",
            mode="min",
            gradient_clip_norm=1.0,
        ),
        trainer=trainer_with(accumulation=accumulation, log_every_steps=3),
        seed=0,
        checkpoints=None,
        fingerprint="",
        sink=sink,
        what="slow",
        step_flops=lambda batch: 1000.0 * batch.num_tokens,
    )


@pytest.fixture(scope="module", params=[1, 2])
def of_run(request):
    """A finished run's result and points, and how many parts its steps have."""
    sink = MemorySink()
    return run(sink, accumulation=request.param), sink, request.param


def test_a_run_says_its_speed_now_and_then_and_as_a_whole(of_run):
    result, sink, _ = of_run
    said = {
        names.TOKENS_PER_SECOND,
        names.MODEL_FLOPS_PER_SECOND,
        names.DATA_WAIT_FRACTION,
        names.PADDING_FRACTION,
        names.PEAK_MEMORY_BYTES,
    }
    assert set(result.speed) == said  # no utilisation: the peak of a CPU is not known
    for name in said:
        assert list(sink.of(name)) == [3, 6]


def test_padding_is_the_share_of_what_is_computed(of_run):
    result, _, _ = of_run
    assert result.speed[names.PADDING_FRACTION] == pytest.approx(0.25)


def test_waiting_is_the_share_of_training_in_which_the_loop_had_no_batch(of_run):
    result, _, _ = of_run
    expected = SECONDS_TO_MAKE / (SECONDS_TO_MAKE + SECONDS_TO_TRAIN)
    # Sleeping takes longer than asked for, on a busy machine by much.
    assert result.speed[names.DATA_WAIT_FRACTION] == pytest.approx(expected, rel=0.5)


def test_tokens_and_flops_are_of_the_time_spent_training_without_validation(of_run):
    result, _, _ = of_run
    longest = 60 / (SECONDS_TO_MAKE + SECONDS_TO_TRAIN)
    assert longest / 2 < result.tokens_per_second <= longest
    assert result.speed[names.MODEL_FLOPS_PER_SECOND] == pytest.approx(
        1000 * result.tokens_per_second
    )


def test_the_peak_of_memory_is_that_of_a_process_with_torch_in_it(of_run):
    result, _, _ = of_run
    assert 100e6 < result.speed[names.PEAK_MEMORY_BYTES] < 100e9


def test_a_point_of_training_is_the_mean_over_the_parts_of_its_step(of_run):
    _, sink, parts = of_run
    last_of = {step: step * parts - 1 for step in (3, 6)}  # the number of the step's last batch
    expected = {step: last - (parts - 1) / 2 for step, last in last_of.items()}
    assert sink.of("train/number") == expected


def test_a_batch_that_counts_no_padding_has_none():
    class Plain(NamedTuple):
        num_tokens: int

    feed = Feed([Plain(5)], pins=False, step_flops=None)
    list(feed)
    assert feed.next_counts() == (5, 5, 0.0)
