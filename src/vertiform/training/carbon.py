"""Two tables of codecarbon: what a processor draws, and what a kilowatt hour emits where.

They are read as files. codecarbon's own tracker took 1.5 to 1.9 s to start here, 0.4 s of it CPU
time: it looks for nvidia-smi, rocm-smi and powermetrics by starting them, loads pandas, and then
samples from two threads.
"""

import csv
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from vertiform.errors import ConfigError, did_you_mean

# codecarbon's figure for a processor it does not know. It fits servers of today, too: an EPYC 7763
# is 280 W for 128 threads, a Xeon Platinum 8480+ 350 W for 112.
WATTS_PER_THREAD = 4.0

_NUMBER = re.compile(r"\d+(\.\d+)?")  # one of the 4,900 says 27.29.5


class Drawn(NamedTuple):
    """What one thread of a processor draws at full load, in watts, and where that is from."""

    watts_per_thread: float
    reason: str


class Emitted(NamedTuple):
    """Kilograms of CO2 equivalent a kilowatt hour, and where that is from."""

    kilograms_per_kilowatt_hour: float
    reason: str


def emitted_in(country_iso_code: str | None) -> Emitted:
    """Return what electricity emits in a country (ISO 3166-1 alpha-3), or None: in the world.

    Raises ConfigError for a country that codecarbon does not know.
    """
    source = f"codecarbon {version('codecarbon')}"
    if country_iso_code is None:
        grams = _json("carbon_intensity_per_source.json")["world_average"]
        return Emitted(grams / 1000, f"{source}: the world's mean")
    countries = _json("global_energy_mix.json")
    if country_iso_code not in countries:
        raise ConfigError(
            f"trainer.country_iso_code is `{country_iso_code}`, which is no country of codecarbon.",
            fix=f"{did_you_mean(country_iso_code.upper(), countries)} null takes the world's mean.",
        )
    country = countries[country_iso_code]
    return Emitted(
        country["carbon_intensity"] / 1000,
        f"{source}: {country['country_name']}, {country['year']}",
    )


def drawn_by(facts: str, *, threads: int) -> Drawn:
    """Return what the processor draws that /proc/cpuinfo describes, of so many threads.

    On a virtual machine its thermal design power says nothing: it is the whole chip's, of which the
    machine has some threads.
    """
    model = _fact(facts, "model name")
    default = f"{WATTS_PER_THREAD:g} W a thread, codecarbon's figure for"
    if re.search(r"^flags\s*:.*\bhypervisor\b", facts, re.MULTILINE):
        return Drawn(WATTS_PER_THREAD, f"{default} any, as this machine is virtual")
    watts = watts_of(model)
    if watts is None:
        return Drawn(WATTS_PER_THREAD, f"{default} one it does not know ({model or 'unnamed'})")
    chips = max(1, len(set(re.findall(r"^physical id\s*:\s*(\d+)", facts, re.MULTILINE))))
    return Drawn(chips * watts / threads, f"{watts:g} W a chip, codecarbon's figure for {model}")


def watts_of(model: str) -> float | None:
    """Return the thermal design power of a processor by its model name; None if it is unknown.

    A name of the table is found within the longer one that a processor gives itself.
    """
    words = _words(model)
    within = {name: watts for name, watts in _processors().items() if name <= words}
    longest = max(map(len, within), default=0)
    found = {watts for name, watts in within.items() if len(name) == longest}
    return found.pop() if len(found) == 1 else None


@cache
def _processors() -> Mapping[frozenset[str], float]:
    with (_data() / "hardware" / "cpu_power.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if _NUMBER.fullmatch(row["TDP"])]
    return {_words(row["Name"]): float(row["TDP"]) for row in rows}


def _words(model: str) -> frozenset[str]:
    plain = re.sub(r"\((R|TM)\)|@.*|\bCPU\b", " ", model, flags=re.IGNORECASE)
    return frozenset(plain.lower().split())


def _fact(facts: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", facts, re.MULTILINE)
    return found[1].strip() if found else ""


def _json(name: str) -> Mapping:
    return json.loads((_data() / "private_infra" / name).read_text(encoding="utf-8"))


def _data() -> Path:
    spec = find_spec("codecarbon")
    assert spec is not None, "codecarbon is a dependency of Vertiform"
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"
