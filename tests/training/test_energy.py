"""Energy: counters where there are some, and an estimate that is called one."""

import json
import logging
from pathlib import Path

import pytest

from tests.training.nvml import Board, Nvml
from tests.training.processes import together
from tests.training.test_machine import work
from vertiform.evaluation import names
from vertiform.training.distributed import ALONE, Place, barrier, joined
from vertiform.training.energy import Energy, PackageCounter, counters_of, packages_in
from vertiform.training.gpus import gpus_of

RANGE = 262_143_328_850  # microjoules, of a real processor
SECOND_OF_TWO = Place(rank=1, ranks=2, local_rank=1, local_ranks=2)


def zone(powercap: Path, number: int, name: str, microjoules: int = 0) -> Path:
    """A zone as the kernel shows it, in a folder of a test's own."""
    folder = powercap / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder


def board_and_gpus(**board) -> tuple[Board, list]:
    only = Board(**board)
    return only, gpus_of({0: "GPU-a"}, nvml=Nvml({"GPU-a": only}))


def energy_of(counters, *, kept=None, country=None) -> Energy:
    return Energy(counters, country_iso_code=country, kept=kept)


def test_a_gpus_counter_is_measured_from_where_the_run_began(tmp_path):
    board, gpus = board_and_gpus(millijoules=7_000_000)
    package = zone(tmp_path, 0, "package-0")
    energy = energy_of(counters_of(ALONE, on_gpu=True, gpus=gpus, powercap=tmp_path))
    board.millijoules = 7_000_000 + 3_600_000_000
    (package / "energy_uj").write_text("0")
    points = energy.points()
    assert points[names.ENERGY_KILOWATT_HOURS] == pytest.approx(1.0)
    assert points[names.ENERGY_ESTIMATED_FRACTION] == 0.0
    assert points[names.CO2_KILOGRAMS] == pytest.approx(0.475)


def test_a_processors_counter_that_starts_again_loses_nothing(tmp_path):
    package = zone(tmp_path, 0, "package-0", microjoules=RANGE - 1_000_000)
    counter = PackageCounter(package)
    (package / "energy_uj").write_text(f"{2_000_000 - 1}")
    assert counter.joules() == pytest.approx(3.0)
    (package / "energy_uj").write_text(f"{5_000_000 - 1}")
    assert counter.joules() == pytest.approx(6.0)


def test_only_whole_processors_are_counted(tmp_path):
    zone(tmp_path, 0, "package-0")
    zone(tmp_path, 1, "package-1")
    zone(tmp_path, 2, "psys")  # holds the packages
    assert len(packages_in(tmp_path)) == 2


def test_a_counter_that_may_not_be_read_is_none(tmp_path):
    (zone(tmp_path, 0, "package-0") / "energy_uj").unlink()
    (counter,) = counters_of(ALONE, on_gpu=False, gpus=[], powercap=tmp_path)
    assert counter.is_estimate


def test_one_process_of_a_machine_reads_its_processors_for_all(tmp_path):
    zone(tmp_path, 0, "package-0")
    assert counters_of(SECOND_OF_TWO, on_gpu=False, gpus=[], powercap=tmp_path) == []
    # Of its own time, each process knows.
    assert len(counters_of(SECOND_OF_TWO, on_gpu=False, gpus=[], powercap=tmp_path / "none")) == 1


def test_without_counters_it_is_an_estimate_of_the_runs_own_time_and_says_so(tmp_path):
    energy = energy_of(counters_of(ALONE, on_gpu=False, gpus=[], powercap=tmp_path))
    work(0.3)
    points = energy.points()
    assert points[names.ENERGY_ESTIMATED_FRACTION] == 1.0
    # At least a watt, at most a workstation's eight a thread, for 0.3 seconds of one.
    assert 0.2 < 3.6e6 * points[names.ENERGY_KILOWATT_HOURS] < 8
    assert "CPU estimated from the run's CPU time" in energy.method
    assert "CO2 estimated at 0.475 kg/kWh" in energy.method


def test_a_gpu_that_cannot_be_asked_is_said_not_to_be_counted(tmp_path):
    _, silent = board_and_gpus(millijoules=None)
    for gpus in (silent, []):
        counters = counters_of(ALONE, gpus=gpus, on_gpu=True, powercap=tmp_path)
        assert energy_of(counters).method.startswith("GPU not counted")
        assert energy_of(counters).points()[names.ENERGY_ESTIMATED_FRACTION] in (0.0, 1.0)
    assert "GPU" not in energy_of(counters_of(ALONE, gpus=[], on_gpu=False)).method


def test_the_country_decides_what_is_emitted():
    _, gpus = board_and_gpus()
    french = energy_of(counters_of(ALONE, on_gpu=True, gpus=gpus), country="FRA").method
    assert "France" in french


def test_a_run_that_goes_on_adds_to_what_it_took_before(tmp_path):
    kept = tmp_path / "used" / "energy.json"
    for attempt in (1, 2, 3):
        board, gpus = board_and_gpus(millijoules=1_000_000 * attempt)  # the machine went on
        package = zone(tmp_path / str(attempt), 0, "package-0")
        energy = energy_of(
            counters_of(ALONE, on_gpu=True, gpus=gpus, powercap=tmp_path / str(attempt)), kept=kept
        )
        board.millijoules += 5000
        (package / "energy_uj").write_text("2000000")
        points = energy.points()
        assert points[names.ENERGY_KILOWATT_HOURS] * 3.6e6 == pytest.approx(7 * attempt)
    assert json.loads(kept.read_text()) == {"measured": 21.0, "estimated": 0.0}


def test_a_damaged_sum_is_named_and_the_run_goes_on(tmp_path, caplog):
    kept = tmp_path / "energy.json"
    kept.write_text('{"measured": 21.0, "esti')
    board, gpus = board_and_gpus()
    zone(tmp_path, 0, "package-0")
    with caplog.at_level(logging.WARNING):
        energy = energy_of(counters_of(ALONE, on_gpu=True, gpus=gpus, powercap=tmp_path), kept=kept)
    assert f"{kept} is damaged" in caplog.text
    board.millijoules += 5000
    assert energy.points()[names.ENERGY_KILOWATT_HOURS] * 3.6e6 == pytest.approx(5)


def _points_of_two(powercap: Path) -> dict[str, float]:
    """What each of two processes of a run says: both have a GPU, one machine has a processor."""
    with joined("ddp", accelerator="cpu") as own:
        board, gpus = board_and_gpus()
        energy = energy_of(counters_of(own, on_gpu=True, gpus=gpus, powercap=powercap))
        board.millijoules += 1000 * (1 + own.rank)
        barrier()
        if own.rank == 0:
            (powercap / "intel-rapl:0" / "energy_uj").write_text("4000000")
        return energy.points()


def test_processes_of_a_run_add_up_what_they_took(tmp_path):
    zone(tmp_path, 0, "package-0")
    first, second = together(2, _points_of_two, tmp_path)
    assert first == second
    assert first[names.ENERGY_KILOWATT_HOURS] * 3.6e6 == pytest.approx(1 + 2 + 4)


def test_asking_twice_counts_once(tmp_path):
    board, gpus = board_and_gpus()
    zone(tmp_path, 0, "package-0")
    energy = energy_of(
        counters_of(ALONE, on_gpu=True, gpus=gpus, powercap=tmp_path), kept=tmp_path / "energy.json"
    )
    board.millijoules += 5000
    assert energy.points() == energy.points()


def test_a_sum_that_cannot_be_kept_is_said_and_counted_all_the_same(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    energy = energy_of(
        counters_of(ALONE, on_gpu=False, gpus=[]), kept=tmp_path / "file" / "energy.json"
    )
    with caplog.at_level(logging.WARNING):
        points = energy.points()
    assert "The energy used so far is not kept" in caplog.text
    assert names.ENERGY_KILOWATT_HOURS in points
