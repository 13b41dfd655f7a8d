"""What becomes of a trial: its run in MLflow, and what the study is told of its training."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from vertiform.cli import session
from vertiform.cli.sweeping.doors import Trained
from vertiform.cli.sweeping.setup import read_setup
from vertiform.cli.sweeping.trial import JOURNAL, Bench, run_trial
from vertiform.errors import StorageError, TrainingError
from vertiform.tracking.runs import run_id_of, wait_for_runs

pytestmark = pytest.mark.slow  # a process brings the runs to MLflow

OVERRIDES = ("domain=software", "task.name=area", "optimizer.lr=interval(1e-4, 1e-2)")
SCORE = "val/f1_macro"


class Training:
    """A door whose training is what a test says; it learns nothing and takes no time."""

    experiment, data_sha256 = "area", "data"

    def __init__(self, train) -> None:
        self.data: list[Path] = []
        self._train = train
        self.parts: list[int] = []

    def own(self, config):
        return config

    def largest_accumulation(self, config):
        return config["batches"]["examples_per_batch"]

    def train(self, config, *, out, trainer, judge, **place):
        self.parts.append(trainer.accumulation)
        self._train(trainer)
        judge.should_prune({SCORE: 0.5}, step=10)
        return Trained(metrics={SCORE: 0.5}, model=out, energy_method="none")


@pytest.fixture
def bench_with(project):
    """A bench of a study in the project, whose trials train as a function does."""
    opened = []

    def make(train) -> Bench:
        setup = read_setup("finetune", OVERRIDES)
        job = setup.search_job()
        study = setup.open_study(job)
        opened.append(study)
        study.begin("same", first=[setup.search.current])
        lineage = session.lineage_of(setup.config, data=[])
        return Bench(
            job=job, door=Training(train), study=study, store=project, lineage=lineage, parent=None
        )

    yield make
    for study in opened:
        study.close()


def run_of(bench: Bench):
    """The run in MLflow of the study's first trial."""
    journal = bench.study.trials()[0].user_attrs[JOURNAL]
    wait_for_runs(bench.store, [journal])
    return bench.store.client.get_run(run_id_of(bench.store, journal))


def first_of(bench: Bench):
    return bench.study.trials()[0]


def test_a_trial_that_does_not_fit_is_trained_in_smaller_parts_and_says_so(bench_with):
    def train(trainer) -> None:
        if trainer.accumulation < 4:
            raise MemoryError

    bench = bench_with(train)
    assert run_trial(bench, bench.study.next_trial())
    assert bench.door.parts == [1, 2, 4]
    assert (first_of(bench).state, first_of(bench).value) == (TrialState.COMPLETE, 0.5)
    tags = run_of(bench).data.tags
    assert (tags["vertiform.accumulation"], tags["vertiform.trial_state"]) == ("4", "complete")


def test_a_trial_that_fits_in_no_parts_fails_with_what_to_do(bench_with):
    def train(trainer) -> None:
        raise MemoryError

    bench = bench_with(train)
    assert run_trial(bench, bench.study.next_trial()), "the process is fit for another"
    assert first_of(bench).state == TrialState.FAIL
    assert "cannot be cut smaller" in bench.study.reasons()[0]
    assert "Fix: choose a smaller network" in run_of(bench).data.tags["vertiform.error"]


@pytest.mark.parametrize(
    ("error", "is_fit", "reason"),
    [
        (TrainingError("The loss became nan.", fix="lower it."), True, "The loss became nan."),
        (ValueError("not ours"), False, "ValueError: not ours"),
    ],
)
def test_an_error_fails_its_trial_with_the_reason(bench_with, error, is_fit, reason):
    def train(trainer) -> None:
        raise error

    bench = bench_with(train)
    assert run_trial(bench, bench.study.next_trial()) is is_fit
    assert bench.study.reasons() == [f"trial 0: {reason}"]
    run = run_of(bench)
    assert (run.info.status, run.data.tags["vertiform.trial_state"]) == ("FAILED", "failed")
    assert reason in run.data.tags["vertiform.error"]


@pytest.mark.parametrize(
    "error", [StorageError("The disk is full.", fix="free some."), SystemExit()]
)
def test_what_ends_a_worker_leaves_its_trial_to_the_next(bench_with, error):
    def train(trainer) -> None:
        raise error

    bench = bench_with(train)
    with pytest.raises(type(error)):
        run_trial(bench, bench.study.next_trial())
    assert first_of(bench).state == TrialState.RUNNING
    after = bench_with(lambda trainer: None)
    assert run_trial(after, after.study.next_trial())
    assert [trial.state for trial in after.study.trials()] == [TrialState.COMPLETE]
    assert run_of(after).info.status == "FINISHED"


def test_a_trial_whose_worker_died_before_it_told_the_study_is_not_trained_again(
    bench_with, monkeypatch
):
    bench = bench_with(lambda trainer: None)

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(bench.study, "tell", die)
        with pytest.raises(SystemExit):
            run_trial(bench, bench.study.next_trial())
    bench.study.close()
    after = bench_with(lambda trainer: None)
    assert run_trial(after, after.study.next_trial())
    assert after.door.parts == []
    assert first_of(after).value == 0.5
