"""Our reading of codecarbon's tables, held against codecarbon's own."""

import pytest
from codecarbon.core.cpu import TDP
from codecarbon.core.emissions import Emissions
from codecarbon.core.units import Energy
from codecarbon.external.geography import GeoMetadata
from codecarbon.input import DataSource

from vertiform.errors import ConfigError
from vertiform.training.carbon import drawn_by, emitted_in, watts_of

CHIP = "processor : 0\nmodel name : AMD EPYC 7763 64-Core Processor\nphysical id : 0\nflags : fpu\n"


@pytest.mark.parametrize("country", ["DEU", "FRA", "NOR", "POL", "IND", "USA"])
def test_a_kilowatt_hour_emits_what_codecarbon_says(country):
    where = GeoMetadata(country_iso_code=country)
    theirs = Emissions(DataSource()).get_country_emissions(Energy.from_energy(kWh=1), where)
    assert emitted_in(country).kilograms_per_kilowatt_hour == pytest.approx(theirs)


def test_every_country_of_codecarbon_has_a_figure():
    for country in DataSource().get_global_energy_mix_data():
        assert 0 <= emitted_in(country).kilograms_per_kilowatt_hour < 2, country


def test_without_a_country_it_is_the_worlds_mean():
    per_source = DataSource().get_carbon_intensity_per_source_data()
    found = emitted_in(None)
    assert found.kilograms_per_kilowatt_hour == per_source["world_average"] / 1000
    assert "the world's mean" in found.reason


@pytest.mark.parametrize("given", ["deu", "DUE", "Germany"])
def test_an_unknown_country_is_named_with_a_near_one(given):
    with pytest.raises(ConfigError, match=rf"`{given}`.*no country.*\n.*null takes the world's"):
        emitted_in(given)
    if given == "deu":
        with pytest.raises(ConfigError, match=r"did you mean `DEU`\?"):
            emitted_in(given)


@pytest.mark.parametrize(
    "model",
    [
        "Intel(R) Xeon(R) Platinum 8480+",
        "Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz",
        "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz",
        "12th Gen Intel(R) Core(TM) i7-12700K",
        "AMD EPYC 7763 64-Core Processor",
        "AMD Ryzen 9 5950X 16-Core Processor",
    ],
)
def test_a_processor_draws_what_codecarbon_says(model):
    codecarbon = TDP.__new__(TDP)  # its constructor looks at this machine
    assert watts_of(model) == codecarbon._get_cpu_power_from_registry(model)


def test_a_chips_power_is_shared_by_the_threads_of_all_chips():
    two = CHIP + CHIP.replace("physical id : 0", "physical id : 1")
    assert drawn_by(CHIP, threads=128).watts_per_thread == 280 / 128
    assert drawn_by(two, threads=256).watts_per_thread == 280 / 128
    assert "280 W a chip" in drawn_by(CHIP, threads=128).reason


def test_an_unknown_processor_draws_codecarbons_default_and_says_so():
    found = drawn_by("model name : Abacus 1\n", threads=2)
    assert found.watts_per_thread == 4
    assert "does not know (Abacus 1)" in found.reason
    assert "(unnamed)" in drawn_by("", threads=2).reason


def test_a_virtual_machine_does_not_draw_what_the_whole_chip_does():
    found = drawn_by(CHIP.replace("fpu", "fpu hypervisor"), threads=2)
    assert found.watts_per_thread == 4
    assert "this machine is virtual" in found.reason
