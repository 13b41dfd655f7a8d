"""What fit promises its callers, shown through the pretraining that runs on it."""

import logging
import math
import os
import signal
import warnings
from dataclasses import replace

import pytest
import torch

from tests.training.tiny import ADAMW, BUDGET, MLM, MODEL, pretrain_tiny, trainer_with
from vertiform.errors import ConfigError, TrainingError
from vertiform.evaluation import names
from vertiform.training.checkpoints import RunCheckpoints
from vertiform.training.goal import Goal
from vertiform.training.metrics import MemorySink
from vertiform.training.objectives.losses import Losses
from vertiform.training.objectives.mlm import MaskedBatch, MaskedLm


class BreaksAfter(MaskedLm):
    """Masked language modelling whose loss is no number from some batch on."""

    def __init__(self, *, batches: int) -> None:
        super().__init__(**vars(MLM))
        object.__setattr__(self, "left", iter(range(batches)))

    def losses(self, network, batch: MaskedBatch) -> Losses:
        losses = MLM.losses(network, batch)
        is_whole = next(self.left, None) is not None
        return losses if is_whole else losses._replace(total=losses.total * math.nan)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: its folder, its result, and its points."""
    folder, sink = tmp_path_factory.mktemp("fit"), MemorySink()
    return folder, pretrain_tiny(folder, sink=sink), sink


def test_it_validates_at_every_interval_and_after_the_last_step(run):
    _, _, sink = run
    assert list(sink.of(names.VAL_NATS_PER_TOKEN)) == [10, 20, 25]


def test_it_logs_each_training_metric_by_completed_steps(run):
    _, _, sink = run
    for name in (
        names.TRAIN_NATS_PER_TOKEN,
        names.LEARNING_RATE,
        names.GRADIENT_NORM,
        names.TOKENS_PER_SECOND,
    ):
        assert list(sink.of(name)) == list(range(1, 26))
    assert all(math.isfinite(value) for _, _, value in sink.points)


def test_a_run_shorter_than_the_interval_logs_its_last_step(tmp_path):
    sink = MemorySink()
    pretrain_tiny(tmp_path, sink=sink, trainer=trainer_with(log_every_steps=1000))
    assert list(sink.of(names.TRAIN_NATS_PER_TOKEN)) == [25]


def test_the_logged_rate_is_the_one_the_step_took(run):
    _, _, sink = run
    rates = sink.of(names.LEARNING_RATE)
    assert rates[1] == pytest.approx(ADAMW.lr / 3)  # two warm-up steps of 25: thirds
    assert rates[25] == pytest.approx(ADAMW.lr * 0.1)


def test_the_result_is_that_of_the_best_validation(run):
    _, result, sink = run
    losses = sink.of(names.VAL_NATS_PER_TOKEN)
    best = min(losses, key=lambda step: losses[step])
    assert result.fit.best_step == best
    assert result.metrics == {
        names.VAL_LOSS_NATS: losses[best],  # of one part: the same
        names.VAL_NATS_PER_TOKEN: losses[best],
        names.VAL_PERPLEXITY: sink.of(names.VAL_PERPLEXITY)[best],
    }
    assert result.fit.steps == 25
    assert result.fit.tokens_per_second > 0


def test_the_best_weights_come_back_not_the_last(tmp_path):
    wild = replace(ADAMW, lr=1.0, gradient_clip_norm=1000.0)  # gets worse as it goes
    budget = replace(BUDGET, validate_every_steps=1)
    sink = MemorySink()
    result = pretrain_tiny(tmp_path, sink=sink, optimizer=wild, budget=budget)
    losses = sink.of(names.VAL_NATS_PER_TOKEN)
    assert result.fit.best_step < 25
    again = MemorySink()
    pretrain_tiny(
        tmp_path,
        "check",
        start=tmp_path / "run",
        sink=again,
        optimizer=replace(ADAMW, lr=1e-30),
        budget=replace(BUDGET, total_steps=1, validate_every_steps=1),
        model=replace(MODEL, dropout=0.0),
    )
    assert again.of(names.VAL_NATS_PER_TOKEN)[1] == losses[result.fit.best_step]


def test_equal_arguments_give_equal_bits(run):
    folder, _, _ = run
    pretrain_tiny(folder, "again")
    pretrain_tiny(folder, "other-seed", seed=2)
    weights = [
        (folder / name / "model.safetensors").read_bytes()
        for name in ("run", "again", "other-seed")
    ]
    assert weights[0] == weights[1] != weights[2]


def test_a_step_in_parts_is_one_step_to_whoever_counts(run, tmp_path):
    _, _, whole = run
    sink = MemorySink()
    result = pretrain_tiny(tmp_path, sink=sink, trainer=trainer_with(accumulation=2))
    assert result.fit.steps == 25
    assert list(sink.of(names.VAL_NATS_PER_TOKEN)) == [10, 20, 25]
    assert sink.of(names.LEARNING_RATE) == whole.of(names.LEARNING_RATE)
    # Dropout is drawn anew for each part, so no more than the order of size is the same.
    assert result.metrics[names.VAL_NATS_PER_TOKEN] == pytest.approx(
        whole.of(names.VAL_NATS_PER_TOKEN)[result.fit.best_step], rel=0.1
    )


def test_it_needs_no_folder_for_checkpoints_and_leaves_none(run, tmp_path):
    folder, result, _ = run
    alone = pretrain_tiny(folder, "alone", checkpoints=None)
    assert alone.metrics == result.metrics
    assert not (folder / "lightning_logs").exists()
    assert not (folder / "checkpoints" / "alone").exists()


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_what_was_saved(tmp_path):
    sink = MemorySink()
    with pytest.raises(
        TrainingError, match=r"became (nan|inf) at step \d+.*\n.*lower optimizer.lr"
    ):
        pretrain_tiny(tmp_path, sink=sink, objective=BreaksAfter(batches=6))
    assert not (tmp_path / "run").exists()
    saved = RunCheckpoints.of(tmp_path / "checkpoints", fingerprint="run", keeps_last=2)
    newest = saved.newest_whole()
    assert newest == saved.at_step(4)
    assert all(math.isfinite(value) for _, _, value in sink.points)


def test_an_unknown_monitor_names_the_metric_meant(tmp_path):
    with pytest.raises(ConfigError, match=r"`val/nats_pertoken`.*\n.*`val/nats_per_token`"):
        pretrain_tiny(tmp_path, monitor="val/nats_pertoken")


def test_a_gpu_that_is_not_there_is_said_in_one_line(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=r"PyTorch sees no GPU here.*\n.*trainer=cpu"):
        pretrain_tiny(tmp_path, trainer=trainer_with(accelerator="gpu"))


def test_a_run_of_no_steps_is_refused():
    with pytest.raises(ConfigError, match="A run of 0 steps"):
        Goal(
            total_steps=0,
            validate_every_steps=1,
            monitor="",
            mode="min",
            gradient_clip_norm=1.0,
        )


def test_lightning_says_nothing(tmp_path, capfd, caplog):
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.INFO):
        warnings.simplefilter("always")
        pretrain_tiny(tmp_path)
    assert not [w for w in caught if "lightning" in w.filename]
    assert {record.name.split(".")[0] for record in caplog.records} == {"vertiform"}
    shown = capfd.readouterr()
    assert shown.out == ""
    # A slow machine may show our own line.
    assert [line for line in shown.err.splitlines() if "pretrain tiny: step" not in line] == []


def test_ctrl_c_reaches_the_caller_as_what_it_is(tmp_path):
    class Interrupting(MemorySink):
        def log_points(self, points, *, step):
            if step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pretrain_tiny(tmp_path, sink=Interrupting())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
