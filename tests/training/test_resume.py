"""A killed run goes on to the very bits it would have reached."""

import logging
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.kills import NOT_COMPARED
from tests.training.tiny import pretrain_tiny, trainer_with
from vertiform.training.budget import Budget
from vertiform.training.loop import EXIT_TERMINATED
from vertiform.training.metrics import MemorySink


class Killed(BaseException):
    """Stands for the end of the process; not an Exception, so nobody handles it."""


class DyingSink(MemorySink):
    """Ends the run when it is handed a point of step `at`, before that is kept."""

    def __init__(self, *, at: int) -> None:
        super().__init__()
        self._at = at

    def log_points(self, points, *, step):
        if step == self._at:
            raise Killed
        super().log_points(points, step=step)


class TerminatingSink(MemorySink):
    """Sends this process SIGTERM at step `at`."""

    def log_points(self, points, *, step):
        super().log_points(points, step=step)
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def uninterrupted(folder) -> MemorySink:
    sink = MemorySink()
    pretrain_tiny(folder, "uninterrupted", sink=sink)
    return sink


def curves(*sinks: MemorySink) -> dict[tuple[int, str], float]:
    """Every point but those of time and of the machine, which no two runs share."""
    return {
        (step, name): value
        for sink in sinks
        for step, name, value in sink.points
        if not name.startswith(NOT_COMPARED)
    }


def assert_same_end(folder: Path, name: str, other: str) -> None:
    """The weights are equal bits, and so is the whole of the last checkpoint."""
    assert (folder / name / "model.safetensors").read_bytes() == (
        folder / other / "model.safetensors"
    ).read_bytes()
    last, last_of_other = (
        max((folder / "checkpoints" / each).glob("step-*")) for each in (name, other)
    )
    assert last.name == last_of_other.name
    assert (last / "state.json").read_text() == (last_of_other / "state.json").read_text()
    tensors, others = (load_file(p / "tensors.safetensors") for p in (last, last_of_other))
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[key], others[key]) for key in tensors)


# Before the first checkpoint; after one between validations (8); on the step of a validation (10);
# right after its checkpoint (11); on the last step (25).
@pytest.mark.parametrize(
    ("killed_at", "goes_on_from"), [(3, None), (9, 8), (10, 8), (11, 10), (25, 24)]
)
def test_a_killed_run_ends_in_the_same_bits(folder, uninterrupted, killed_at, goes_on_from):
    name = f"killed-at-{killed_at}"
    before = DyingSink(at=killed_at)
    with pytest.raises(Killed):
        pretrain_tiny(folder, name, sink=before)
    after = MemorySink()
    result = pretrain_tiny(folder, name, sink=after)
    assert result.fit.resumed_from_step == goes_on_from
    assert curves(before, after) == curves(uninterrupted)
    assert_same_end(folder, name, "uninterrupted")


def test_a_killed_run_with_steps_in_parts_ends_in_the_same_bits(folder):
    in_parts = {"trainer": trainer_with(accumulation=2)}
    whole = MemorySink()
    pretrain_tiny(folder, "parts", sink=whole, **in_parts)
    before, after = DyingSink(at=9), MemorySink()
    with pytest.raises(Killed):
        pretrain_tiny(folder, "parts-killed", sink=before, **in_parts)
    result = pretrain_tiny(folder, "parts-killed", sink=after, **in_parts)
    assert result.fit.resumed_from_step == 8
    assert curves(before, after) == curves(whole)
    assert_same_end(folder, "parts-killed", "parts")


def test_a_run_killed_twice_ends_in_the_same_bits(folder, uninterrupted):
    for at in (9, 18):
        with pytest.raises(Killed):
            pretrain_tiny(folder, "killed-twice", sink=DyingSink(at=at))
    assert pretrain_tiny(folder, "killed-twice").fit.resumed_from_step == 16
    assert_same_end(folder, "killed-twice", "uninterrupted")


def test_a_finished_run_only_gives_its_result_again(folder, uninterrupted):
    sink = MemorySink()
    result = pretrain_tiny(folder, "uninterrupted", sink=sink)
    assert result.fit.resumed_from_step == 25
    assert (
        result.metrics["val/nats_per_token"]
        == uninterrupted.of("val/nats_per_token")[result.fit.best_step]
    )
    assert sink.points == []


def test_a_damaged_checkpoint_is_named_and_passed_over(folder, uninterrupted, caplog):
    with pytest.raises(Killed):
        pretrain_tiny(folder, "damaged", sink=DyingSink(at=15))
    newest = folder / "checkpoints" / "damaged" / "step-00000012" / "tensors.safetensors"
    damaged = bytearray(newest.read_bytes())
    damaged[-1] ^= 1
    newest.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        result = pretrain_tiny(folder, "damaged")
    assert "step-00000012, which is damaged: tensors.safetensors is not" in caplog.text
    assert result.fit.resumed_from_step == 10
    assert_same_end(folder, "damaged", "uninterrupted")


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(folder, uninterrupted):
    with pytest.raises(Killed):
        pretrain_tiny(folder, "best-damaged", sink=DyingSink(at=15))
    best = folder / "checkpoints" / "best-damaged" / "best-00000010" / "tensors.safetensors"
    best.write_bytes(b"")
    assert pretrain_tiny(folder, "best-damaged").fit.resumed_from_step is None
    assert_same_end(folder, "best-damaged", "uninterrupted")


def test_another_run_does_not_go_on_from_this_one(folder):
    with pytest.raises(Killed):
        pretrain_tiny(folder, "one", sink=DyingSink(at=9))
    assert pretrain_tiny(folder, "other").fit.resumed_from_step is None


def test_on_sigterm_a_run_saves_where_it_is_and_exits_distinctly(folder, uninterrupted):
    with pytest.raises(SystemExit) as ended:
        pretrain_tiny(folder, "terminated", sink=TerminatingSink())
    assert ended.value.code == EXIT_TERMINATED
    assert pretrain_tiny(folder, "terminated").fit.resumed_from_step == 7
    assert_same_end(folder, "terminated", "uninterrupted")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_change_nothing(folder, uninterrupted, workers):
    name = f"workers-{workers}"
    sink = MemorySink()
    pretrain_tiny(folder, name, sink=sink, trainer=trainer_with(loader_workers=workers))
    assert curves(sink) == curves(uninterrupted)
    assert_same_end(folder, name, "uninterrupted")


LONGER = Budget(total_steps=60, validate_every_steps=20)
