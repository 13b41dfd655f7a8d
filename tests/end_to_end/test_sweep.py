"""`vertiform sweep`, killed with its workers, ends as one left alone, and may be given more trials.

Several claims read one story, as each process takes seconds to import what it trains with.
"""

import json
import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.sweeps.project import (
    FINETUNE,
    WENT_ON,
    Sweep,
    has_gone_on,
    make_project,
    runs_of,
    under_way,
    wait_for_end_of,
    wait_until,
    workers_of,
)
from vertiform.cli.compose import compose
from vertiform.tracking.store import open_store

pytestmark = pytest.mark.slow

SCORE = "val/f1_macro"
NUM_EPOCHS = 50  # of three steps: seconds, in which a trial can be killed


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("sweeps") / "project")


@dataclass(frozen=True)
class Killed:
    """A sweep whose worker was killed, then itself, and that was called again, then with more."""

    sweep: Sweep
    left: list[psutil.Process]  # the workers when their sweep was killed
    first: list  # its trials after the second call
    runs: list  # likewise, of MLflow
    more: str  # what the call for more trials printed
    runs_after_more: list

    def children(self, runs: list, kind: str = "trial") -> list:
        return [run for run in runs if run.data.tags["vertiform.kind"] == kind]

    def parents(self, runs: list) -> list:
        return self.children(runs, "sweep")


@pytest.fixture(scope="module")
def killed(project) -> Killed:
    sweep = Sweep(
        project,
        *FINETUNE,
        *("study=killed", "optimizer.lr=0.00001", f"budget.epochs={NUM_EPOCHS}"),
        *("batches.examples_per_batch=32", "pruner=none", "trainer.checkpoint_every_steps=3"),
        "starts.domain.lr=tag(log, interval(0.00001, 0.01))",
    )
    few = ("n_trials=4", "confirmation_seeds=0")
    with sweep.started(*few, "workers=2") as process:
        wait_until(lambda: under_way(sweep), "a trial", process=process)
        os.kill(sweep.worker_of(under_way(sweep)[0]), signal.SIGKILL)
        wait_until(lambda: has_gone_on(sweep), "the trial to go on", process=process)
        left = workers_of(process)
        process.kill()
        wait_for_end_of(left)
    assert any(trial.state == TrialState.RUNNING for trial in sweep.trials()), "killed too late"
    done = sweep.run(*few)
    assert done.returncode == 0, done.stderr
    first, runs = sweep.trials(), runs_of(project)
    more = sweep.run("n_trials=5", "confirmation_seeds=2", "--save", "found")
    assert more.returncode == 0, more.stderr
    return Killed(sweep, left, first, runs, more.stdout, runs_of(project))


def test_after_kills_there_are_n_trials_with_no_number_twice_and_none_lost(killed):
    assert [trial.number for trial in killed.first] == list(range(4))
    assert {trial.state for trial in killed.first} == {TrialState.COMPLETE}
    steps = range(3, 3 * NUM_EPOCHS + 1, 3)
    assert {tuple(trial.intermediate_values) for trial in killed.first} == {tuple(steps)}


def test_the_workers_of_a_killed_sweep_end_by_themselves(killed):
    assert killed.left
    assert not any(worker.is_running() for worker in killed.left)


def test_killed_trials_go_on_from_their_checkpoint(killed):
    went_on = [killed.sweep.log_of(number).count(WENT_ON) for number in range(4)]
    assert max(went_on) == 2, "by the other worker, and then by the next sweep"


def test_a_killed_trial_is_one_finished_run_with_each_step_once(killed, project):
    runs = killed.children(killed.runs)
    assert Counter(run.data.tags["vertiform.trial"] for run in runs) == Counter("0123")
    assert {run.info.status for run in killed.runs} == {"FINISHED"}
    client = open_store(None, root=project).client
    for run in runs:
        points = client.get_metric_history(run.info.run_id, SCORE)
        assert [point.step for point in points] == list(range(3, 3 * NUM_EPOCHS + 1, 3))


def test_trial_0_is_the_configuration_as_it_is(killed):
    assert killed.first[0].params == {"starts.domain.lr": 0.00001}


def test_trials_are_children_of_the_one_run_of_their_sweep(killed):
    (parent,) = killed.parents(killed.runs)
    linked = {run.data.tags["mlflow.parentRunId"] for run in killed.children(killed.runs)}
    assert linked == {parent.info.run_id}


def test_more_trials_reopen_the_study_under_the_same_run(killed):
    (before,), (parent,) = killed.parents(killed.runs), killed.parents(killed.runs_after_more)
    assert parent.info.run_id == before.info.run_id
    assert parent.info.status == "FINISHED"
    trials = [(trial.number, trial.values) for trial in killed.sweep.trials()]
    assert trials[:4] == [(trial.number, trial.values) for trial in killed.first]
    assert len(trials) == len(killed.children(killed.runs_after_more)) == 5


def test_the_best_trial_is_run_again_over_seeds_beside_the_configuration_as_it_is(killed):
    runs = killed.children(killed.runs_after_more, "confirmation")
    assert {run.info.status for run in runs} == {"FINISHED"}
    rates = Counter(float(run.data.params["start.lr"]) for run in runs)
    assert rates.pop(0.00001) == 2
    assert list(rates.values()) == [2]
    assert "95%" in killed.more


def test_the_run_of_a_sweep_shows_its_pictures_its_note_and_its_table(killed, project):
    (parent,) = killed.parents(killed.runs_after_more)
    client = open_store(None, root=project).client
    pictures = {
        Path(file.path).name for file in client.list_artifacts(parent.info.run_id, "pictures")
    }
    assert {"sweep.html", "history.png", "slice.png", "intermediate_values.png"} <= pictures
    assert parent.data.tags["mlflow.note.content"].startswith("# Sweep killed")
    table = json.loads(
        Path(client.download_artifacts(parent.info.run_id, "trials.json")).read_text()
    )
    assert table["columns"] == ["trial", "state", SCORE, "starts.domain.lr"]
    assert [row[0] for row in table["data"]] == list(range(5))


def test_the_best_trial_is_saved_as_an_experiment_that_composes_to_it(killed, project, monkeypatch):
    monkeypatch.chdir(project)
    best = max(killed.sweep.trials(), key=lambda trial: trial.value)
    saved = compose("finetune", ["domain=tiny", "task.name=area", "experiment=found"])
    assert saved["starts"]["domain"]["lr"] == best.params["starts.domain.lr"]
    assert saved["budget"]["epochs"] == NUM_EPOCHS
    assert "conf/experiment/found.yaml" in killed.more
