"""`vertiform sweep`, stopped by Ctrl-C, with trials that are pruned and fail in real trainings."""

from dataclasses import dataclass

import psutil
import pytest
from optuna.trial import TrialState

from tests.sweeps.project import (
    GOOD,
    IMPOSSIBLE,
    PRETRAIN,
    RATES,
    SECONDS,
    USELESS,
    WENT_ON,
    Sweep,
    interrupt,
    make_project,
    runs_of,
    under_way,
    wait_until,
    workers_of,
)
from vertiform.cli.sweep import EXIT_INTERRUPTED
from vertiform.errors import EXIT_USER
from vertiform.tracking.store import open_store

pytestmark = pytest.mark.slow

LOSS = "val/loss_nats"
STEPS, VALIDATED_EVERY = 400, 40  # seconds, in which a trial can be stopped


@dataclass(frozen=True)
class Stopped:
    """A sweep of good, useless and impossible rates: stopped by Ctrl-C, and called again."""

    sweep: Sweep
    stopped: tuple[int, str, str]  # exit code and what it printed, of the call that was stopped
    left: list[psutil.Process]  # its workers when it was stopped
    ended: str  # what the call after it printed
    refused: tuple[int, str, str]  # of one that allows fewer failures
    runs: list  # of MLflow

    def run_of(self, rate: float):
        """The run in MLflow of the trial with this rate that is not trial 0."""
        (run,) = (
            run
            for run in self.runs
            if run.data.tags.get("vertiform.trial", "0") != "0"
            and float(run.data.params["optimizer.lr"]) == rate
        )
        return run

    def trial_of(self, rate: float):
        """That trial."""
        number = int(self.run_of(rate).data.tags["vertiform.trial"])
        return self.sweep.trials()[number]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Stopped:
    project = make_project(tmp_path_factory.mktemp("stopped") / "project")
    sweep = Sweep(
        project,
        *PRETRAIN,
        *("study=stopped", "confirmation_seeds=0", "sampler=grid", "pruner.n_startup_trials=1"),
        *(f"budget.total_steps={STEPS}", f"budget.validate_every_steps={VALIDATED_EVERY}"),
        RATES,
    )
    few = ("n_trials=4", "max_failure_fraction=0.5")  # each rate, after the configuration as it is
    with sweep.started(*few) as process:
        wait_until(lambda: under_way(sweep), "a trial", process=process)
        left = workers_of(process)
        interrupt(process)
        out, err = process.communicate(timeout=SECONDS)
        stopped = process.returncode, out, err
    ended = sweep.run(*few)
    assert ended.returncode == 0, ended.stderr
    refused = sweep.run("n_trials=4", "max_failure_fraction=0.1")
    told = refused.returncode, refused.stdout, refused.stderr
    return Stopped(sweep, stopped, left, ended.stdout, told, runs_of(project))


def test_ctrl_c_saves_what_runs_and_says_how_to_go_on(stopped):
    code, out, err = stopped.stopped
    assert code == EXIT_INTERRUPTED == 130
    assert "The same command goes on" in out
    assert "Traceback" not in err
    assert not any(worker.is_running() for worker in stopped.left)


def test_after_ctrl_c_the_same_command_goes_on_from_the_checkpoint(stopped):
    assert stopped.sweep.log_of(0).count(WENT_ON) == 1
    assert [trial.number for trial in stopped.sweep.trials()] == list(range(4))
    first = [run for run in stopped.runs if run.data.tags.get("vertiform.trial") == "0"]
    assert [run.info.status for run in first] == ["FINISHED"]


def test_a_pruned_trial_keeps_its_run_its_metrics_and_its_step(stopped):
    run, trial = stopped.run_of(USELESS), stopped.trial_of(USELESS)
    assert trial.state == TrialState.PRUNED
    assert run.info.status == "FINISHED"
    assert run.data.tags["vertiform.trial_state"] == "pruned"
    step = int(run.data.tags["vertiform.pruned_at_step"])
    assert step == trial.last_step < STEPS
    client = open_store(None, root=stopped.sweep.project).client
    points = client.get_metric_history(run.info.run_id, LOSS)
    assert [point.step for point in points] == list(trial.intermediate_values)
    assert "log.txt" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_a_trial_whose_loss_is_no_number_fails_with_its_reason_and_the_sweep_goes_on(stopped):
    run, trial = stopped.run_of(IMPOSSIBLE), stopped.trial_of(IMPOSSIBLE)
    assert trial.state == TrialState.FAIL
    assert "became nan" in trial.user_attrs["reason"]
    assert run.info.status == "FAILED"
    assert run.data.tags["vertiform.trial_state"] == "failed"
    assert "became nan" in run.data.tags["vertiform.error"]
    assert "became nan" in stopped.ended
    assert "1 pruned, 1 failed" in stopped.ended
    assert "Traceback" not in (stopped.sweep.folder / "worker-0.log").read_text()
    assert stopped.trial_of(GOOD).state == TrialState.COMPLETE


def test_a_sweep_of_which_too_many_failed_ends_with_one_line_and_code_2(stopped):
    code, _, err = stopped.refused
    assert code == EXIT_USER == 2
    (line,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert "1 of 4 trials have failed" in line
    assert "became nan" in line
    assert "Traceback" not in err
    assert len(stopped.sweep.trials()) == 4
