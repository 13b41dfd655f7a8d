"""What is read of the machine, on the machine that the tests run on."""

import multiprocessing
import time

import pytest

from vertiform.evaluation import names
from vertiform.training.machine import Machine, cpu_seconds

FORK = multiprocessing.get_context("fork")


def work(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_machine_without_gpu_says_all_but_what_a_gpu_does(tmp_path):
    machine = Machine(disk=tmp_path, gpus=[])
    work(0.05)
    points = machine.points()
    said = {
        names.SYSTEM_CPU_FRACTION,
        names.PROCESS_CPU_FRACTION,
        names.SYSTEM_MEMORY_BYTES,
        names.PROCESS_MEMORY_BYTES,
        names.DISK_USED_FRACTION,
    }
    on_disks = {names.DISK_READ_BYTES_PER_SECOND, names.DISK_WRITTEN_BYTES_PER_SECOND}
    assert points.keys() - on_disks == said  # a container may not see its disks
    assert not [name for name in points if "gpu" in name]
    for name, value in points.items():
        assert value >= 0, name
        assert value <= 1 or not name.endswith("fraction"), name
    assert points[names.PROCESS_MEMORY_BYTES] > 50e6


def test_a_process_that_works_is_seen_to_and_one_that_sleeps_is_not(tmp_path):
    machine = Machine(disk=tmp_path, gpus=[])
    work(0.2)
    working = machine.points()[names.PROCESS_CPU_FRACTION]
    time.sleep(0.2)
    sleeping = machine.points()[names.PROCESS_CPU_FRACTION]
    assert working > 0.05  # a full core of a few, on a busy machine less
    assert sleeping < working / 2


@pytest.mark.parametrize("has_ended", [False, True])
def test_the_time_of_a_loader_process_is_the_runs_own(has_ended):
    before, began = cpu_seconds(), time.process_time()
    child = FORK.Process(target=_work_and_wait, args=(0.3, 0.0 if has_ended else 60.0))
    child.start()
    if has_ended:
        child.join()
    else:
        until = time.monotonic() + 60
        while cpu_seconds() - before < 0.3 and time.monotonic() < until:
            time.sleep(0.01)
    taken, mine = cpu_seconds() - before, time.process_time() - began
    child.kill()
    child.join()
    assert taken - mine == pytest.approx(0.3, abs=0.1)


def _work_and_wait(work_seconds: float, wait_seconds: float) -> None:
    work(work_seconds)
    time.sleep(wait_seconds)
