"""What a sweep is, as its command line says: its door, its space, its studies and their jobs."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import identity
from vertiform.cli.compose import instantiate
from vertiform.cli.objectives import Objectives
from vertiform.cli.search_space import Given, Search, compose_sweep, read_space, sorted_out
from vertiform.cli.search_values import START
from vertiform.cli.sweeping.jobs import Confirmation, Job
from vertiform.errors import ConfigError, did_you_mean
from vertiform.sweeps.dimensions import Value
from vertiform.sweeps.space import Space

if TYPE_CHECKING:
    from vertiform.sweeps.study import Study

DOORS = ("pretrain", "finetune")
SWEEPS = identity.OUTSIDE_RELEASE / "sweeps"  # a folder for each study
# What conf/sampler and conf/pruner may name.
ALLOWED = ("optuna.samplers.", "optuna.pruners.", "vertiform.sweeps.pruners.")

LEAST = {
    "n_trials": 1,
    "workers": 1,
    "confirmation_seeds": 0,
    "max_failure_fraction": 0,
    "heartbeat_seconds": 1,
}
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")

Config = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A sweep as it was asked for.

    sweep:  conf/sweep.yaml, composed. config: the door's, composed: the configuration as it is.
    search: the space, and the value that each dimension has now.
    """

    door: str
    given: Given
    sweep: Config
    config: Config
    search: Search
    objectives: Objectives
    name: str

    @property
    def folder(self) -> Path:
        """Where everything about the sweep is kept on this disk."""
        return SWEEPS / self.name

    def search_job(self) -> Job:
        """The trials that search."""
        return Job(setup=self, study_name=self.name, folder=self.folder, space=self.search.space)

    def confirming(self, best: int) -> Confirmation:
        """The trials that run trial number `best` again, and the configuration as it is."""
        return Confirmation.of(self, best)

    @property
    def n_trials(self) -> int:
        """How many trials there will be: of a grid not more than it has, and trial 0."""
        if not self._is_grid:
            return self.sweep["n_trials"]
        combinations = math.prod(len(values) for values in self.search.space.grid().values())
        return min(self.sweep["n_trials"], 1 + combinations)

    @property
    def _is_grid(self) -> bool:
        return self.sweep["sampler"]["_target_"].endswith(".GridSampler")

    def config_of(self, values: Mapping[str, Value]) -> Config:
        """Compose the door's configuration with `values`."""
        return _config_of(self.search, values)

    def identity(self, data_sha256: str) -> str:
        """What makes the study this study; trials of two that differ in it compare badly."""
        from vertiform.training.checkpoints import fingerprint_of

        decides = {k: v for k, v in self.config.items() if k not in identity.PLACE_AND_SPEED}
        decides |= {"space": self.search.space.as_json(), "objectives": self.sweep["objectives"]}
        return fingerprint_of(decides, data_sha256=data_sha256)

    def open_study(self, job: Job) -> "Study":
        """Open the study of a job for this process; it is made if it is not there."""
        from vertiform.sweeps.study import open_study

        return open_study(
            job.study_name,
            folder=self.folder,
            address=self.sweep["storage"],
            heartbeat_seconds=self.sweep["heartbeat_seconds"],
            directions=self.objectives.directions,
            pruner=instantiate(self.sweep["pruner"], allowed=ALLOWED),
            make_sampler=partial(self._sampler, job.space),
            space=job.space,
            seed=self.sweep["sampler_seed"],
            n_trials=job.n_trials,
        )

    def _sampler(self, space: Space, seed: int) -> Any:
        section = self.sweep["sampler"]
        if self._is_grid:
            # Its order is drawn once for all; each trial must be asked for with the same seed.
            return instantiate(
                section, allowed=ALLOWED, search_space=space.grid(), seed=self.sweep["sampler_seed"]
            )
        return instantiate(section, allowed=ALLOWED, seed=seed)


def read_setup(door: str, overrides: Sequence[str]) -> Setup:
    """Read what was asked for. Raises ConfigError for whatever is wrong with it."""
    if door not in DOORS:
        raise ConfigError(f"`{door}` is nothing to sweep over.", fix=did_you_mean(door, DOORS))
    given = sorted_out(overrides)
    sweep = compose_sweep(given)
    search = read_space(door, given, sweep=sweep)
    config = _config_of(search, {})
    objectives = Objectives.of(sweep["objectives"], door=door, config=config)
    _check(sweep)
    return Setup(
        door=door,
        given=given,
        sweep=sweep,
        config=config,
        search=search,
        objectives=objectives,
        name=sweep["study"] or _name_of(door, config, given),
    )


def _config_of(search: Search, values: Mapping[str, Value]) -> Config:
    start = search.start_of(values)
    return search.config_of(values) | ({} if start is None else {START: start})


def _name_of(door: str, config: Config, given: Given) -> str:
    """finetune-software-area-finetune: door, domain, task and file of conf/search."""
    named = [door, config["domain"]]
    if door == "finetune":
        named.append(config["task"]["name"])
    named += [text.partition("=")[2] for text in given.sweep if text.startswith("search=")]
    return "-".join(named)


def _check(sweep: Config) -> None:
    """Raise ConfigError for what no sweep can be."""
    for key, least in LEAST.items():
        if not isinstance(sweep[key], int | float) or sweep[key] < least:
            raise ConfigError(
                f"{key} is {sweep[key]}, which must be {least} or more.", fix=f"set {key}={least}."
            )
    pruner = sweep["pruner"]["_target_"]
    if len(sweep["objectives"]) > 1 and not pruner.endswith(".NopPruner"):
        raise ConfigError(
            "A trial of several objectives cannot be pruned: its values at a step do not compare.",
            fix="add pruner=none, or give one of objectives=[...] only.",
        )
    name = sweep["study"]
    if name is not None and not NAME.fullmatch(name):
        raise ConfigError(
            f"`{name}` cannot be the name of a study, which is a folder's too.",
            fix="use letters, digits, dots, dashes and underscores: study=rates-2.",
        )
