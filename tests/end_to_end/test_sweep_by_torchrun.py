"""`vertiform sweep` in the processes of a launcher: each trial trains in all of them."""

import pytest
from optuna.trial import TrialState

from tests.sweeps.project import (
    GOOD,
    IMPOSSIBLE,
    PRETRAIN,
    RATES,
    USELESS,
    Sweep,
    make_project,
    runs_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Sweep:
    """A sweep whose every trial trains in two processes that torchrun started, at its end."""
    project = make_project(tmp_path_factory.mktemp("together") / "project")
    sweep = Sweep(
        project,
        *PRETRAIN,
        *("trainer=ddp", "trainer.accelerator=cpu", "trainer.loader_workers=0", "study=together"),
        *("confirmation_seeds=0", "sampler=grid", "pruner.n_startup_trials=1", "n_trials=4"),
        *("budget.total_steps=40", "budget.validate_every_steps=10", "max_failure_fraction=0.5"),
        RATES,
        launcher=("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    )
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    return sweep


def test_processes_of_a_launcher_prune_fail_and_go_on_together(together):
    by_rate = {trial.params["optimizer.lr"]: trial for trial in together.trials()[1:]}
    assert together.trials()[0].state == by_rate[GOOD].state == TrialState.COMPLETE
    assert by_rate[USELESS].state == TrialState.PRUNED
    assert by_rate[IMPOSSIBLE].state == TrialState.FAIL
    assert "became nan" in by_rate[IMPOSSIBLE].user_attrs["reason"]


def test_the_first_of_a_launchers_processes_alone_keeps_runs(together):
    states = {
        run.data.tags.get("vertiform.trial", "sweep"): run.info.status
        for run in runs_of(together.project)
    }
    failed = next(t for t in together.trials() if t.state == TrialState.FAIL)
    expected = dict.fromkeys(("sweep", "0", "1", "2", "3"), "FINISHED")
    assert states == expected | {str(failed.number): "FAILED"}
    assert len(runs_of(together.project)) == 5
