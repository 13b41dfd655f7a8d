"""One study of two folders, as of two machines: a real PostgreSQL, and one server of MLflow's."""

import os
import shutil
import signal
from collections import Counter
from dataclasses import dataclass

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.faults.server import Server
from tests.sweeps.postgres import database
from tests.sweeps.project import (
    FINETUNE,
    SECONDS,
    Sweep,
    make_project,
    runs_of,
    wait_until,
    workers_of,
)
from vertiform.sweeps.storage import open_storage

pytestmark = pytest.mark.slow

# So many that the one that joins finds some left: a trial takes seconds, to start takes longer.
N_TRIALS, NUM_EPOCHS = 8, 100


@dataclass(frozen=True)
class Joined:
    """A sweep that another folder joined, until that was killed in a trial."""

    lost: int  # the number of the trial that was run there
    joined: list[int]  # the trials that had ended or begun there
    trials: list[FrozenTrial]
    runs: list  # of MLflow
    said: str  # by the sweep that led


@pytest.fixture(scope="module")
def joined(tmp_path_factory) -> Joined:
    root = tmp_path_factory.mktemp("two")
    here = make_project(root / "here")
    there = shutil.copytree(here, root / "there")
    (root / "server").mkdir()
    with database() as address, Server(root / "server") as server:
        leader, joiner = (
            Sweep(
                folder,
                *FINETUNE,
                *("study=joined", f"storage={address}", "heartbeat_seconds=1", "pruner=none"),
                *("tracking=server", f"tracking.tracking_uri={server.uri}"),
                *("confirmation_seeds=0", f"n_trials={N_TRIALS}", f"budget.epochs={NUM_EPOCHS}"),
                *("batches.examples_per_batch=32", "trainer.checkpoint_every_steps=3"),
                "starts.domain.lr=tag(log, interval(0.0001, 0.01))",
            )
            for folder in (here, there)
        )

        storage, _ = open_storage(root, address, 1)

        def trials() -> list[FrozenTrial]:
            return optuna.load_study(study_name="joined", storage=storage).trials

        def of_joiner() -> list[FrozenTrial]:
            return [trial for trial in trials() if joiner.log_of(trial.number)]

        def under_way() -> list[FrozenTrial]:
            return [t for t in of_joiner() if t.state == TrialState.RUNNING and t.last_step]

        with leader.started() as leading:
            wait_until(lambda: leader.log_of(0), "the first trial", process=leading)
            with joiner.started() as joining:
                wait_until(under_way, "a trial of the one that joins", process=joining)
                lost = under_way()[0].number
                for process in workers_of(joining):
                    os.kill(process.pid, signal.SIGKILL)
                os.kill(joining.pid, signal.SIGKILL)
            of_both = [trial.number for trial in of_joiner()]
            out, err = leading.communicate(timeout=SECONDS)
            assert leading.returncode == 0, err
        return Joined(lost, of_both, trials(), runs_of(here, server.uri), out)


def test_the_one_that_is_left_finishes_the_study(joined):
    assert [trial.number for trial in joined.trials] == list(range(N_TRIALS))
    assert {trial.state for trial in joined.trials} == {TrialState.COMPLETE}
    assert f"{N_TRIALS} of {N_TRIALS} trials have ended: {N_TRIALS} done" in joined.said


def test_trials_of_both_are_children_of_one_run(joined):
    (parent,) = (run for run in joined.runs if run.data.tags["vertiform.kind"] == "sweep")
    trials = [run for run in joined.runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    finished = Counter(
        run.data.tags["vertiform.trial"] for run in trials if run.info.status == "FINISHED"
    )
    assert finished == Counter(map(str, range(N_TRIALS)))
    assert parent.info.status == "FINISHED"


def test_the_trial_that_was_lost_has_a_run_of_its_own_where_it_was_begun_again(joined):
    runs = [run for run in joined.runs if run.data.tags.get("vertiform.trial") == str(joined.lost)]
    assert len(runs) == 2
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
