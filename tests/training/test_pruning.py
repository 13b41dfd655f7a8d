"""A judge ends a run after a validation, in all its processes, and hears of each step as it was."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.training.judges import Scripted
from tests.training.processes import Together, together
from tests.training.tiny import pretrain_tiny, trainer_with
from vertiform.errors import ConfigError, StorageError
from vertiform.evaluation import names
from vertiform.training.distributed import is_first_rank, place
from vertiform.training.metrics import MemorySink
from vertiform.training.pruning import Pruned

SECOND_VALIDATION = 20


class Killing(Scripted):
    """Ends this process right after it was told of a step: before that step is saved."""

    def should_prune(self, metrics: Mapping[str, float], *, step: int) -> bool:
        if step == SECOND_VALIDATION:
            os.kill(os.getpid(), signal.SIGKILL)
        return False


def steps_saved(folder: Path, name: str = "run") -> list[int]:
    return sorted(int(p.name.split("-")[1]) for p in (folder / "checkpoints" / name).glob("step-*"))


@pytest.fixture(scope="module")
def unjudged(tmp_path_factory):
    """A run that no judge was asked about: its folder, result and points."""
    folder, sink = tmp_path_factory.mktemp("unjudged"), MemorySink()
    return folder, pretrain_tiny(folder, sink=sink), sink


def test_a_judge_hears_every_validation_by_its_step(unjudged, tmp_path):
    _, _, sink = unjudged
    judge = Scripted()
    pretrain_tiny(tmp_path, judge=judge)
    assert {step: heard[names.VAL_NATS_PER_TOKEN] for step, heard in judge.heard.items()} == (
        sink.of(names.VAL_NATS_PER_TOKEN)
    )
    assert not [name for name in judge.heard[10] if name.startswith("train/")]


def test_a_judge_that_never_prunes_changes_no_bit(unjudged, tmp_path):
    folder, result, _ = unjudged
    judged = pretrain_tiny(tmp_path, judge=Scripted())
    assert judged.metrics == result.metrics
    weights = [(at / "run" / "model.safetensors").read_bytes() for at in (folder, tmp_path)]
    assert weights[0] == weights[1]


def test_a_pruned_run_has_logged_its_validation_and_leaves_no_model(tmp_path):
    sink = MemorySink()
    with pytest.raises(Pruned) as pruned:
        pretrain_tiny(tmp_path, judge=Scripted(prunes_at={SECOND_VALIDATION}), sink=sink)
    assert pruned.value.step == SECOND_VALIDATION
    assert list(sink.of(names.VAL_NATS_PER_TOKEN)) == [10, SECOND_VALIDATION]
    assert max(step for step, _, _ in sink.points) == SECOND_VALIDATION
    assert not (tmp_path / "run").exists()


def test_a_pruned_run_leaves_no_process_that_makes_batches(tmp_path):
    before = psutil.Process().children(recursive=True)  # of tests before this one
    judge = Scripted(prunes_at={SECOND_VALIDATION})
    with pytest.raises(Pruned):
        pretrain_tiny(tmp_path, judge=judge, trainer=trainer_with(loader_workers=1))
    assert not [p for p in psutil.Process().children(recursive=True) if p not in before]


def test_a_pruned_step_is_not_saved_and_the_ones_before_are(tmp_path):
    with pytest.raises(Pruned):
        pretrain_tiny(tmp_path, judge=Scripted(prunes_at={SECOND_VALIDATION}))
    assert steps_saved(tmp_path) == [12, 16]


def test_a_pruned_run_called_again_asks_again(tmp_path):
    first, again = (Scripted(prunes_at={SECOND_VALIDATION}) for _ in range(2))
    for judge in (first, again):
        with pytest.raises(Pruned):
            pretrain_tiny(tmp_path, judge=judge)
    assert list(again.heard) == [SECOND_VALIDATION]
    assert again.heard[SECOND_VALIDATION] == first.heard[SECOND_VALIDATION]


def test_a_run_that_has_done_its_steps_is_not_pruned(unjudged, tmp_path):
    _, result, _ = unjudged
    judge = Scripted(prunes_at={25})
    assert pretrain_tiny(tmp_path, judge=judge).metrics == result.metrics
    assert 25 in judge.heard


def test_after_a_kill_between_report_and_checkpoint_the_judge_hears_the_same(unjudged, tmp_path):
    _, _, whole = unjudged
    killed = Together(1, _pretrain_judged, tmp_path, Killing())
    assert killed.exit_codes() == [-signal.SIGKILL]
    judge = Scripted()
    assert pretrain_tiny(tmp_path, judge=judge).fit.resumed_from_step == 16
    assert {step: heard[names.VAL_NATS_PER_TOKEN] for step, heard in judge.heard.items()} == {
        step: whole.of(names.VAL_NATS_PER_TOKEN)[step] for step in (SECOND_VALIDATION, 25)
    }


def test_a_monitor_that_is_no_metric_is_said_before_a_judge_is_asked(tmp_path):
    judge = Scripted()
    with pytest.raises(ConfigError, match=r"`val/nats_pertoken`.*\n.*`val/nats_per_token`"):
        pretrain_tiny(tmp_path, monitor="val/nats_pertoken", judge=judge)
    assert judge.heard == {}


def _pretrain_judged(folder: Path, judge: Scripted) -> None:
    pretrain_tiny(folder, judge=judge)


def _judged_by_the_first(folder: Path, strategy: str) -> tuple[int, list[int], int]:
    """Train in this process of several; say where it ended, what was heard and what was logged."""
    judge, sink = Scripted(prunes_at={SECOND_VALIDATION}), MemorySink()
    trainer = trainer_with(strategy=strategy)
    try:
        pretrain_tiny(
            folder, strategy, judge=judge if is_first_rank() else None, sink=sink, trainer=trainer
        )
    except Pruned as pruned:
        return pruned.step, list(judge.heard), len(sink.of(names.VAL_NATS_PER_TOKEN))
    raise AssertionError(f"process {place().rank} was not pruned")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_end_after_the_step_that_the_first_was_told_to(tmp_path, strategy):
    pretrain_tiny(tmp_path, "warm", checkpoints=None)  # makes the tokens, once
    running = Together(2, _judged_by_the_first, tmp_path, strategy)
    assert running.exit_codes() == [0, 0]
    first, second = running.results()
    assert first == (SECOND_VALIDATION, [10, SECOND_VALIDATION], 2)
    assert second == (SECOND_VALIDATION, [], 0)
    assert steps_saved(tmp_path, strategy) == [12, 16]


class Failing:
    """A judge whose memory is out of reach."""

    def should_prune(self, metrics: Mapping[str, float], *, step: int) -> bool:
        raise StorageError("The study is away.", fix="wait.")


def _judged_by_one_that_fails(folder: Path) -> str:
    with pytest.raises(StorageError) as error:
        pretrain_tiny(
            folder,
            judge=Failing() if is_first_rank() else None,
            trainer=trainer_with(strategy="ddp"),
        )
    return error.value.problem


def test_a_judge_that_fails_ends_all_processes(tmp_path):
    pretrain_tiny(tmp_path, "warm", checkpoints=None)
    assert together(2, _judged_by_one_that_fails, tmp_path) == [
        "The study is away.",
        "Process 0: The study is away.",
    ]
