"""What every run says of its machine and its energy, through the pretraining that says it."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.training.tiny import pretrain_tiny, trainer_with
from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.training.metrics import MemorySink

OFTEN = trainer_with(system_every_seconds=1e-6)
NEVER = trainer_with(system_every_seconds=1e6)
ALWAYS_SAID = (
    names.SYSTEM_CPU_FRACTION,
    names.PROCESS_CPU_FRACTION,
    names.SYSTEM_MEMORY_BYTES,
    names.PROCESS_MEMORY_BYTES,
    names.DISK_USED_FRACTION,
)
ENERGY = (names.ENERGY_KILOWATT_HOURS, names.ENERGY_ESTIMATED_FRACTION, names.CO2_KILOGRAMS)


@pytest.fixture(scope="module")
def often(tmp_path_factory):
    """A run that reads the machine at each step: its folder, result and points."""
    folder, sink = tmp_path_factory.mktemp("watch"), MemorySink()
    return folder, pretrain_tiny(folder, "often", sink=sink, trainer=OFTEN), sink


def test_the_machine_is_said_once_a_step_at_most(often):
    _, _, sink = often
    for name in ALWAYS_SAID:
        assert list(sink.of(name)) == list(range(1, 26)), name
    given = [(step, name) for step, name, _ in sink.points]
    assert len(given) == len(set(given))


def test_a_run_shorter_than_the_interval_says_its_last_step(tmp_path):
    sink = MemorySink()
    pretrain_tiny(tmp_path, sink=sink, trainer=NEVER)
    for name in ALWAYS_SAID:
        assert list(sink.of(name)) == [25]


def test_the_interval_is_kept(tmp_path):
    sink = MemorySink()
    started = time.monotonic()
    pretrain_tiny(tmp_path, sink=sink, trainer=trainer_with(system_every_seconds=0.1))
    seconds = time.monotonic() - started
    assert len(sink.of(names.SYSTEM_CPU_FRACTION)) <= 1 + seconds / 0.1


def test_energy_is_said_at_each_validation_and_only_grows(often):
    _, result, sink = often
    for name in ENERGY:
        assert list(sink.of(name)) == [10, 20, 25], name
    values = list(sink.of(names.ENERGY_KILOWATT_HOURS).values())
    assert 0 <= values[0] <= values[1] <= values[2]
    assert values[2] > 0
    assert "CO2 estimated" in result.fit.energy_method


def test_watching_leaves_the_bits_of_training_as_they_are(often):
    folder, _, sink = often
    other = MemorySink()
    pretrain_tiny(folder, "never", sink=other, trainer=NEVER)
    weights = [(folder / name / "model.safetensors").read_bytes() for name in ("often", "never")]
    assert weights[0] == weights[1]
    for name in (names.TRAIN_NATS_PER_TOKEN, names.VAL_NATS_PER_TOKEN, names.GRADIENT_NORM):
        assert sink.of(name) == other.of(name)


class Dies(MemorySink):
    """Ends the run when it is handed a point of training of step 15."""

    def log_points(self, points, *, step):
        if step == 15 and names.TRAIN_NATS_PER_TOKEN in points:
            raise KeyError("killed")
        super().log_points(points, step=step)


def test_a_killed_run_goes_on_from_the_energy_it_took(tmp_path):
    before, after = Dies(), MemorySink()
    with pytest.raises(KeyError, match="killed"):
        pretrain_tiny(tmp_path, sink=before)
    taken = before.of(names.ENERGY_KILOWATT_HOURS)
    assert list(taken) == [10]
    kept = json.loads((tmp_path / "checkpoints" / "run" / "used" / "energy.json").read_text())
    assert (kept["measured"] + kept["estimated"]) / 3.6e6 == pytest.approx(taken[10])
    pretrain_tiny(tmp_path, sink=after)
    assert list(after.of(names.ENERGY_KILOWATT_HOURS)) == [20, 25]
    assert after.of(names.ENERGY_KILOWATT_HOURS)[20] > taken[10]


def test_nothing_is_left_where_a_run_is_started(tmp_path, monkeypatch):
    home = Path(os.environ["HOME"])
    before = set(home.iterdir())
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    pretrain_tiny(tmp_path, checkpoints=None)
    assert list((tmp_path / "cwd").iterdir()) == []  # no emissions.csv
    assert set(home.iterdir()) == before


def test_an_unknown_country_ends_a_run_before_it_trains(tmp_path):
    sink = MemorySink()
    with pytest.raises(ConfigError, match="`XYZ`, which is no country"):
        pretrain_tiny(tmp_path, sink=sink, trainer=trainer_with(country_iso_code="XYZ"))
    assert sink.points == []


def test_an_interval_of_no_time_is_refused():
    with pytest.raises(ConfigError, match=r"system_every_seconds is 0.*\n.*above 0"):
        trainer_with(system_every_seconds=0)
