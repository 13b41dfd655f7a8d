"""What a sweep found, as an experiment of conf/ that `dvc repro` can train."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.cli.compose import CONF, compose
from vertiform.cli.composer import as_overrides, is_group
from vertiform.cli.search_values import door_values
from vertiform.cli.sweep_grammar import key_of, parsed
from vertiform.errors import ConfigError
from vertiform.files import written_whole
from vertiform.sweeps.dimensions import Value

NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
NEEDED = ("domain", "task.name")  # of every command; an experiment serves whoever gives them
ELSEWHERE = ("trainer", "tracking")  # where and how fast: never part of a recipe
COMMENT_COLUMNS = 100


@dataclass
class Recipe:
    """The overrides of a run by what they are in an experiment's file.

    needed: stays with the command. base: the experiment that it started from, or None.
    """

    needed: dict[str, Any] = field(default_factory=dict)
    base: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    values: Any = field(default_factory=lambda: OmegaConf.create({}))


def write_experiment(
    name: str, door: str, overrides: Sequence[str], values: Mapping[str, Value], *, note: str
) -> Path:
    """Write conf/experiment/<name>.yaml: the run of `overrides` and a trial's `values` on top.

    The command of `door` with domain, task.name and experiment=<name> then composes to what the
    trial had, but for trainer and tracking. A start that was searched is not in it: the door trains
    each of its starts. note: a few sentences for whoever reads the file.

    Raises ConfigError, with nothing written, for a name that is taken or cannot be a file's, and
    for an override that no file of conf/ can hold.
    """
    file = CONF / "experiment" / f"{name}.yaml"
    check_name(name)
    recipe = recipe_of([*overrides, *as_overrides(door_values(values))])
    with written_whole(file) as out:
        out.write(_rendered(recipe, command=_command(door, recipe, name), note=note))
    wanted = compose(door, [*overrides, *as_overrides(door_values(values))])
    written = compose(door, [*as_overrides(recipe.needed), f"experiment={name}"])
    if _without_place(written) != _without_place(wanted):
        file.unlink()
        raise AssertionError(f"{file} does not compose to the trial's configuration")
    return file


def check_name(name: str) -> None:
    """Raise ConfigError for a name that no new experiment can have; before hours of a sweep."""
    file = CONF / "experiment" / f"{name}.yaml"
    # `experiment=12` and `experiment=null` would not be read as names.
    if not NAME.fullmatch(name) or parsed(f"experiment={name}").value() != name:
        raise ConfigError(
            f"`{name}` cannot name an experiment.",
            fix="use letters, digits, dashes and underscores, such as area_tuned.",
        )
    if file.exists():
        raise ConfigError(
            f"{file} exists, and is not overwritten.",
            fix=f"choose another name, or delete it first (git keeps it): rm {file}",
        )


def recipe_of(overrides: Sequence[str]) -> Recipe:
    """Sort overrides by what they are in a file; the last of a key has the final word."""
    recipe = Recipe()
    for text in overrides:
        override = parsed(text)
        key, value = key_of(override), override.value()
        bare = key.lstrip("+")
        if override.is_delete() or (key != bare and is_group(bare)):
            raise ConfigError(
                f"`{text}` cannot be written into an experiment, which adds no group and takes "
                "nothing away.",
                fix="make the change in the file of conf/ that it is about, and leave it out.",
            )
        if bare in NEEDED:
            recipe.needed[bare] = value
        elif bare.split(".")[0] in ELSEWHERE:
            continue
        elif bare == "experiment":
            recipe.base = str(value)
        elif is_group(bare):
            recipe.groups[bare] = str(value)
        else:
            OmegaConf.update(recipe.values, bare, value, merge=True, force_add=True)
    return recipe


def _command(door: str, recipe: Recipe, name: str) -> str:
    return " ".join(["vertiform", door, *as_overrides(recipe.needed), f"experiment={name}"])


def _rendered(recipe: Recipe, *, command: str, note: str) -> str:
    told = textwrap.wrap(
        note, COMMENT_COLUMNS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
    lines = ["# @package _global_", f"# Found by a sweep:  {command}", *told, "defaults:"]
    lines += [f"  - {recipe.base}"] if recipe.base is not None else []
    lines += ["  - _self_"]
    lines += [f"  - override /{group}: {choice}" for group, choice in recipe.groups.items()]
    values = OmegaConf.to_yaml(recipe.values) if recipe.values else ""
    return "\n".join([*lines, "", values]) if values else "\n".join([*lines, ""])


def _without_place(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ELSEWHERE}
