"""What workers work on: the trials of a search, or the runs that confirm its best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli.composer import as_overrides
from vertiform.cli.objectives import Objectives
from vertiform.sweeps.dimensions import Choice, Int, Value
from vertiform.sweeps.space import Space

if TYPE_CHECKING:
    from vertiform.cli.sweeping.setup import Setup

CONFIGURATION, AS_IT_IS, BEST = "configuration", "as it is", "best"  # of a confirmation
SEED = "seed"

Config = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The trials of one study: their values are overrides of the door."""

    setup: "Setup"
    study_name: str
    folder: Path
    space: Space
    kind: str = "trial"
    title: str = "Sweep"  # above the table

    @property
    def objectives(self) -> Objectives:
        """By what they are compared."""
        return self.setup.objectives

    @property
    def prunes(self) -> bool:
        """Whether a trial may be ended early: with several objectives, none is."""
        return len(self.objectives.names) == 1

    @property
    def n_trials(self) -> int:
        """How many there will be."""
        return self.setup.n_trials

    @property
    def max_failed(self) -> float:
        """How many may fail; more of them end the sweep."""
        return self.setup.sweep["max_failure_fraction"] * self.n_trials

    def name_of(self, number: int, values: Mapping[str, Value]) -> str:
        """Name the run of a trial."""
        return f"trial {number}"

    def door_values(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """What a trial changes in the door's configuration."""
        return values

    def config_of(self, values: Mapping[str, Value]) -> Config:
        """Compose a trial's configuration."""
        return self.setup.config_of(self.door_values(values))

    def overrides_of(self, values: Mapping[str, Value]) -> str:
        """What gives the trial's configuration on a command line, for people."""
        return " ".join(as_overrides(self.door_values(values)))


@dataclass(frozen=True, kw_only=True)
class Confirmation(Job):
    """Two configurations over some seeds, none of which the search has seen; nothing is pruned."""

    best: Mapping[str, Value]
    seeds: Sequence[int]
    kind: str = "confirmation"
    title: str = "Over seeds"

    @classmethod
    def of(cls, setup: "Setup", best: int) -> "Confirmation":
        """The confirmation of trial number `best` of a setup's search."""
        study = setup.open_study(setup.search_job())
        try:
            values = setup.search.space.values(study.trials()[best].params)
        finally:
            study.close()
        base = setup.config[SEED]
        seeds = range(base + 1, base + 1 + setup.sweep["confirmation_seeds"])
        # Of a number's ends another call may give others, for more seeds; of a choice it may not.
        seed = Int(SEED, seeds[0], seeds[-1])
        return cls(
            setup=setup,
            study_name=f"{setup.name}-confirms-{best}",
            folder=setup.folder / f"confirms-{best}",
            space=Space((Choice(CONFIGURATION, (AS_IT_IS, BEST)), seed)),
            best=values,
            seeds=seeds,
        )

    @property
    def prunes(self) -> bool:
        """None: their last values are compared."""
        return False

    @property
    def n_trials(self) -> int:
        """Both configurations with each seed."""
        return 2 * len(self.seeds)

    @property
    def max_failed(self) -> float:
        """All: that the best trial fails with other seeds is what was to be found out."""
        return self.n_trials

    @property
    def runs(self) -> list[dict[str, Value]]:
        """All of them, to be queued; a seed's two one after the other."""
        return [{CONFIGURATION: c, SEED: s} for s in self.seeds for c in (AS_IT_IS, BEST)]

    def name_of(self, number: int, values: Mapping[str, Value]) -> str:
        """Name the run of one."""
        return f"{values[CONFIGURATION]}, seed {values[SEED]}"

    def door_values(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """The configuration, with another seed."""
        searched = self.best if values[CONFIGURATION] == BEST else {}
        return {**searched, SEED: values[SEED]}
