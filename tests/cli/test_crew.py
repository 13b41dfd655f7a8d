"""The workers of a sweep: their shares of the machine, their deaths, and their end."""

import os
import time
from pathlib import Path

import pytest

from tests.sweeps.member import READY
from tests.sweeps.studies import study_in
from vertiform.cli.sweeping.crew import MOST_EARLY_DEATHS, Crew, Share, shares
from vertiform.errors import TrainingError

SECONDS = 60  # on a busy machine


@pytest.fixture
def cores(monkeypatch):
    """Make this process one that may use so many cores."""

    def allow(number: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(number)))

    return allow


@pytest.mark.parametrize(
    ("num_cores", "workers", "expected"),
    [
        (8, 2, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        (7, 3, [(0, 1), (2, 3), (4, 5, 6)]),
        (4, 1, [(0, 1, 2, 3)]),
        (2, 3, [(0,), (1,), (0,)]),
    ],
)
def test_every_core_is_shared_out_and_none_twice_while_there_are_enough(
    cores, num_cores, workers, expected
):
    cores(num_cores)
    assert [share.cores for share in shares(workers, gpus=[])] == expected


def test_each_worker_has_a_gpu_and_they_share_where_there_are_fewer(cores):
    cores(3)
    shared = shares(3, gpus=["4", "MIG-1"])
    assert [share.gpu for share in shared] == ["4", "MIG-1", "4"]
    assert [share.gpu for share in shares(2, gpus=[])] == [None, None]


def crew_that(how: str, folder: Path, *, workers: int = 2) -> Crew:
    return Crew(
        command=("tests.sweeps.member", str(folder), how),
        shares=[Share((n,), gpu=str(n)) for n in range(workers)],
        folder=folder,
    )


def wait_for(file: Path) -> None:
    give_up = time.monotonic() + SECONDS
    while not file.exists():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_trial_ends_once(tmp_path, caplog):
    study, crew = study_in(tmp_path), crew_that("stumbles", tmp_path, workers=1)
    crew.work(study, watch=lambda: None)
    assert study.is_complete()
    assert len(study.trials()) == 3
    assert "Worker 0 ended with exit code -9" in caplog.text
    assert f"{tmp_path}/worker-0.log" in caplog.text
    assert (tmp_path / "worker-0.log").read_text() == (2 * "stumbles --worker=0 --cores=0 on 0\n")


@pytest.mark.slow
def test_a_trial_that_kills_its_workers_is_given_up_and_the_others_are_run(tmp_path):
    study = study_in(tmp_path)
    crew_that("chokes", tmp_path, workers=1).work(study, watch=lambda: None)
    assert [trial.state.name for trial in study.trials()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.reasons() == ["trial 1: 3 workers in a row died of it, as for want of memory"]


@pytest.mark.slow
def test_workers_that_all_die_at_once_end_the_sweep_with_where_to_look(tmp_path):
    crew = crew_that("dies", tmp_path)
    with pytest.raises(
        TrainingError, match=rf"{MOST_EARLY_DEATHS} workers in a row died.*\n.*worker-[01]\.log"
    ):
        crew.work(study_in(tmp_path), watch=lambda: None)


@pytest.mark.slow
def test_what_watching_raises_ends_the_work_and_workers_end_when_they_are_asked(tmp_path):
    crew = crew_that("sleeps", tmp_path)

    def watch() -> None:
        if all((tmp_path / f"{READY}--worker={n}").exists() for n in range(2)):
            raise TrainingError("Too many trials have failed.", fix="narrow the space.")

    with pytest.raises(TrainingError, match="Too many"):
        crew.work(study_in(tmp_path), watch=watch)
    assert crew.stop(seconds=SECONDS) == 0


def test_what_the_last_trials_came_to_is_looked_at(tmp_path):
    study, looks = study_in(tmp_path, n_trials=1), []
    study.tell_failed(study.next_trial(), "the loss became nan")
    crew_that("works", tmp_path).work(study, watch=lambda: looks.append(study.reasons()))
    assert looks == [["trial 0: the loss became nan"]]


@pytest.mark.slow
def test_a_worker_that_does_not_end_in_time_is_killed(tmp_path):
    study, crew = study_in(tmp_path), crew_that("is-deaf", tmp_path, workers=1)
    crew._fill(study)
    wait_for(tmp_path / f"{READY}--worker=0")
    assert crew.stop(seconds=0.2) == 1
