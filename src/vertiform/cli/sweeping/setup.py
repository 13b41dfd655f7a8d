"""What a sweep is, as its command line says: its door, its space, its studies and their jobs."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import identity
from vertiform.cli.compose import instantiate
from vertiform.cli.objectives import Objectives
from vertiform.cli.search_space import Given, Search, compose_sweep, read_space, sorted_out
from vertiform.cli.search_values import START
from vertiform.cli.sweeping.jobs import Config, Confirmation, Job
from vertiform.errors import ConfigError, did_you_mean
from vertiform.sweeps.dimensions import Value

if TYPE_CHECKING:
    from vertiform.sweeps.study import Study

DOORS = ("pretrain", "finetune")
SWEEPS = identity.OUTSIDE_RELEASE / "sweeps"  # a folder for each study
# What conf/sampler and conf/pruner may name.
ALLOWED = ("optuna.samplers.", "optuna.pruners.", "vertiform.sweeps.pruners.")
IDLE = "optuna.samplers.RandomSampler"  # of a study whose trials are all queued

LEAST = {  # whole numbers
    "n_trials": 1,
    "workers": 1,
    "sampler_seed": 0,
    "confirmation_seeds": 0,
    "heartbeat_seconds": 1,
}
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


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
            pruner=self.pruner(),
            make_sampler=self.sampler,
            space=job.space,
            seed=self.sweep["sampler_seed"],
            n_trials=job.n_trials,
        )

    def pruner(self) -> Any:
        """Build the pruner."""
        return instantiate(self.sweep["pruner"], allowed=ALLOWED)

    def sampler(self, seed: int) -> Any:
        """Build the sampler for one trial. All trials of a grid are queued: it is never asked."""
        section = {"_target_": IDLE} if self._is_grid else self.sweep["sampler"]
        return instantiate(section, allowed=ALLOWED, seed=seed)

    @cached_property
    def queued(self) -> list[dict[str, Value]]:
        """What is tried before the sampler is asked: the configuration as it is; all of a grid.

        Optuna's own grid tries the first one twice, and ends a study by an error outside of its
        own loop.
        """
        current = dict(self.search.current)
        if not self._is_grid:
            return [current]
        others = [other for other in self.search.space.combinations() if other != current]
        random.Random(self.sweep["sampler_seed"]).shuffle(others)
        return [current, *others][: self.sweep["n_trials"]]

    @property
    def n_trials(self) -> int:
        """How many there will be: of a grid no more than it has combinations."""
        return len(self.queued) if self._is_grid else self.sweep["n_trials"]

    @property
    def _is_grid(self) -> bool:
        return self.sweep["sampler"]["_target_"].endswith(".GridSampler")


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
    setup = Setup(
        door=door,
        given=given,
        sweep=sweep,
        config=config,
        search=search,
        objectives=objectives,
        name=sweep["study"] or _name_of(door, config, given),
    )
    _rehearse(setup)
    return setup


def _rehearse(setup: Setup) -> None:
    """Build once what every worker builds, so that what is wrong with it is said before trial 1."""
    from vertiform.sweeps.storage import quieten_optuna

    quieten_optuna()
    _ = setup.queued
    setup.pruner()
    setup.sampler(0)


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
        if type(sweep[key]) is not int or sweep[key] < least:
            raise ConfigError(
                f"{key} is {sweep[key]}, which must be a whole number, {least} or more.",
                fix=f"set {key}={least}, say.",
            )
    most = sweep["max_failure_fraction"]
    if type(most) not in (int, float) or not 0 <= most <= 1:
        raise ConfigError(
            f"max_failure_fraction is {most}, which is no fraction from 0 to 1.",
            fix="set max_failure_fraction=1 to let any number of trials fail.",
        )
    pruner = sweep["pruner"]["_target_"]
    if len(sweep["objectives"]) > 1 and not pruner.endswith(".NopPruner"):
        raise ConfigError(
            "A trial of several objectives cannot be pruned: its values at a step do not compare.",
            fix="add pruner=none, or give one of objectives=[...] only.",
        )
    if len(sweep["objectives"]) > 1 and sweep["sampler"]["_target_"].endswith(".CmaEsSampler"):
        raise ConfigError(
            "CMA-ES compares trials by one number, and there are several objectives.",
            fix="choose sampler=nsga2 or sampler=tpe, or give one of objectives=[...] only.",
        )
    name = sweep["study"]
    if name is not None and not NAME.fullmatch(name):
        raise ConfigError(
            f"`{name}` cannot be the name of a study, which is a folder's too.",
            fix="use letters, digits, dots, dashes and underscores: study=rates-2.",
        )
