"""What a sweep searches: conf/search/<name>.yaml and the sweeps among a command's overrides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from omegaconf import OmegaConf

from vertiform.cli.compose import CONF, compose
from vertiform.cli.composer import Composer
from vertiform.cli.rehearsal import rehearse
from vertiform.cli.search_checks import check_fit, check_space
from vertiform.cli.search_values import START, current_values, door_values
from vertiform.cli.sweep_grammar import SWEEPS, dimension_of, key_of, parsed
from vertiform.errors import ConfigError, did_you_mean
from vertiform.sweeps.dimensions import Dimension, Value
from vertiform.sweeps.space import Branch, Space

PARTS = ("space", "branches")  # of a file of conf/search


@dataclass(frozen=True)
class Given:
    """The overrides of `vertiform sweep`, by whose they are, each as it was written."""

    sweep: tuple[str, ...]  # of conf/sweep.yaml
    door: tuple[str, ...]  # of the door that is swept
    searched: tuple[str, ...]  # those whose value is a sweep
    start: str | None = None  # Hydra would take it for a choice of the group conf/start


@dataclass(frozen=True)
class Search:
    """A search space that fits its door, and the configuration as it is."""

    space: Space
    current: Mapping[str, Value]  # the value of every dimension that exists in trial 0
    composer: Composer
    start: str | None  # that a trial trains which does not choose one; None in pretraining

    def start_of(self, values: Mapping[str, Value]) -> str | None:
        """The start that a trial of `values` fine-tunes from."""
        chosen = values.get(START, self.start)
        return None if chosen is None else str(chosen)

    def config_of(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """The door's configuration of a trial of `values`."""
        return self.composer.composed(door_values(values))


def sorted_out(overrides: Sequence[str]) -> Given:
    """Sort the overrides of a sweep by whose they are.

    Raises ConfigError for what is none, and for a sweep over a key of the sweep itself.
    """
    own = _keys_of("sweep")
    sweep: list[str] = []
    door: list[str] = []
    searched: list[str] = []
    start: str | None = None
    for text in overrides:
        override = parsed(text)
        key = key_of(override)
        is_own = override.package is None and key.lstrip("+~").split(".")[0] in own
        if override.is_sweep_override():
            if is_own and key != START:
                raise ConfigError(
                    f"`{text}` searches a key of the sweep itself.",
                    fix=f"give {key} one value ({key}=[a,b] is a list); a key of the door and "
                    "`start` may be searched.",
                )
            searched.append(text)
        elif is_own and key == START:
            start = str(override.value())
        else:
            (sweep if is_own else door).append(text)
    return Given(tuple(sweep), tuple(door), tuple(searched), start)


def compose_sweep(given: Given) -> dict[str, Any]:
    """Compose conf/sweep.yaml with what was given of it."""
    composed = compose("sweep", given.sweep)
    return composed if given.start is None else composed | {START: given.start}


def read_space(door: str, given: Given, *, sweep: Mapping[str, Any]) -> Search:
    """Read the space of a sweep of `door`; `sweep` is what `compose_sweep` gave.

    The command has the final word: a sweep among its overrides replaces one of the same key in the
    file. Raises ConfigError for whatever would make a trial fail before it trains.
    """
    if door != "finetune" and given.start is not None:
        raise ConfigError(
            f"`start={given.start}` is of fine-tuning, and {door} has no starts.",
            fix="leave it out; `weights` says what pretraining goes on from.",
        )
    _refuse_slips(door, given)
    space = _space_of(sweep.get("search"), given.searched)
    start = sweep[START] if door == "finetune" else None
    composer = Composer(door, given.door)
    check_space(space)
    check_fit(space, composer, start=start)
    current = current_values(space, composer, start=start)
    rehearse(space, composer, current, start=start)
    return Search(space, current, composer, start)


def _space_of(search: Any, searched: Sequence[str]) -> Space:
    search = {} if search is None else search
    for part in search:
        if part not in PARTS:
            raise ConfigError(
                f"A file of conf/search has no part `{part}`.", fix=did_you_mean(part, PARTS)
            )
    dimensions = {d.key: d for d in _dimensions(search.get("space"), "space")}
    dimensions |= _of_command(searched)
    branches = tuple(_branches(search.get("branches")))
    if not dimensions:
        raise ConfigError("The space has no dimensions: there is nothing to search.", fix=_fix())
    return Space(tuple(dimensions.values()), branches)


def _of_command(searched: Sequence[str]) -> dict[str, Dimension]:
    dimensions: dict[str, Dimension] = {}
    for text in searched:
        dimension = dimension_of(parsed(text))
        if dimension.key in dimensions:
            raise ConfigError(
                f"`{dimension.key}` is searched twice by the command: the second is `{text}`.",
                fix="leave one out.",
            )
        dimensions[dimension.key] = dimension
    return dimensions


def _fix() -> str:
    known = sorted(file.stem for file in (CONF / "search").glob("*.yaml"))
    return (
        f"add search=<name> ({', '.join(known)}), or a sweep as an override, such as "
        "optimizer.lr='tag(log, interval(1e-4, 1e-2))'."
    )


def _dimensions(section: Any, name: str) -> Iterator[Dimension]:
    for key, value in _items(section, name):
        if not isinstance(value, str):
            raise ConfigError(
                f"`{key}: {value}` in `{name}` of the search is no sweep.",
                fix=f"write {key}: {SWEEPS}.",
            )
        yield dimension_of(parsed(f"{key}={value}"))


def _branches(section: Any) -> Iterator[Branch]:
    for condition, below in _items(section, "branches"):
        override = parsed(condition)
        value = override.value()
        if override.is_sweep_override() or not isinstance(value, str | int | float | bool):
            raise ConfigError(
                f"The branch `{condition}` does not say of which choice it is.",
                fix="write it as <key>=<value>, such as optimizer=muon.",
            )
        yield Branch(key_of(override), value, tuple(_dimensions(below, condition)))


def _items(section: Any, name: str) -> Iterator[tuple[str, Any]]:
    if section is None:
        return
    if not isinstance(section, dict):
        raise ConfigError(
            f"`{name}` of the search is `{section}`, and no list of keys.",
            fix="write a line `<key>: <sweep>` for each dimension below it.",
        )
    yield from ((str(key), value) for key, value in section.items())


def _refuse_slips(door: str, given: Given) -> None:
    """Refuse a slip in a key of the sweep, for which Hydra would name keys of the door."""
    own, doors = _keys_of("sweep"), _keys_of(door)
    for text in given.door:
        key = parsed(text).key_or_group.split(".")[0]
        if key not in doors and get_close_matches(key, own, cutoff=0.8):
            raise ConfigError(
                f"`{key}` is a key neither of conf/sweep.yaml nor of conf/{door}.yaml.",
                fix=did_you_mean(key, own | doors),
            )


def _keys_of(name: str) -> set[str]:
    """The first keys and groups that conf/<name>.yaml knows."""
    file = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(file, dict)
    groups = [key for entry in file.pop("defaults") if isinstance(entry, dict) for key in entry]
    packages = [str(group).partition("@")[2].split(".")[0] for group in groups]
    return {str(key) for key in (*file, *groups, *packages)}
