"""Which pictures a study gives: what each shows, what it needs, and why one is left out."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import optuna
from optuna.trial import TrialState

from vertiform.sweeps.picture_study import (
    ended_well,
    single_objective,
    varied_dimensions,
    with_short_names,
)

HISTORY, IMPORTANCES, SLICE = "history", "importances", "slice"
PARALLEL, INTERMEDIATE, PARETO = "parallel_coordinates", "intermediate_values", "pareto_front"
_FUNCTIONS = {  # of optuna.visualization, and of its twin that draws with matplotlib
    HISTORY: "plot_optimization_history",
    IMPORTANCES: "plot_param_importances",
    SLICE: "plot_slice",
    PARALLEL: "plot_parallel_coordinate",
    INTERMEDIATE: "plot_intermediate_values",
    PARETO: "plot_pareto_front",
}
_MOST_SLICES = 5  # beside each other in one picture: more cannot be read


@dataclass(frozen=True)
class Picture:
    """One picture to be: of `study`, by Optuna's function for its kind."""

    kind: str
    name: str  # of its file, and its place on the page
    title: str
    sentence: str
    study: optuna.Study
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def objective(self) -> str:
        """The name of the study's first objective, often its only one."""
        return (self.study.metric_names or [""])[0]

    def drawn_by(self, visualization: ModuleType) -> Any:
        """Draw it with optuna.visualization or with optuna.visualization.matplotlib."""
        return getattr(visualization, _FUNCTIONS[self.kind])(self.study, **self.options)


@dataclass(frozen=True)
class LeftOut:
    """A picture that the study cannot give (yet)."""

    title: str
    reason: str


def pictures_of(study: optuna.Study, *, objectives: Sequence[str]) -> Iterator[Picture | LeftOut]:
    """Yield every picture of a study, or why it is left out, in the order in which they are read.

    objectives: the names of its values, in its order.
    """
    whole = with_short_names(study, objectives)
    # Of several objectives at once Optuna takes less of each for better, and its matplotlib twin
    # labels the bars of all by the order of the last: each objective gets pictures of its own.
    singles = [single_objective(whole, i, name) for i, name in enumerate(objectives)]
    if len(objectives) > 1:
        yield _pareto_front(whole)
    for kind in (_history, _importances, _slices):
        for objective, single in zip(objectives, singles, strict=True):
            yield from kind(single, objective, ending=_ending(objective, objectives))
    yield _parallel(whole, objectives)
    yield _intermediate(whole, objectives)


def _pareto_front(study: optuna.Study) -> Picture | LeftOut:
    title = "What can be had together"
    if len(study.directions) > 3:
        return LeftOut(title, "more than three objectives cannot be drawn against each other")
    if not ended_well(study):
        return LeftOut(title, "no trial has ended well")
    sentence = (
        "Each dot is a trial that ended well. Of a red one no other is better in one objective "
        "without being worse in another."
    )
    return Picture(PARETO, PARETO, title, sentence, study)


def _history(study: optuna.Study, objective: str, *, ending: str) -> Iterator[Picture | LeftOut]:
    title = f"{objective}: the best so far"
    if not ended_well(study):
        yield LeftOut(title, "no trial has ended well")
        return
    sentence = (
        "Each dot is a trial that ended well, the line the best until then. Where the line stays "
        "flat for long, more trials promise little."
    )
    options = {"target_name": objective}
    yield Picture(HISTORY, HISTORY + ending, title, sentence, study, options)


def _importances(
    study: optuna.Study, objective: str, *, ending: str
) -> Iterator[Picture | LeftOut]:
    title = f"{objective}: which dimensions matter"
    is_level = len({trial.value for trial in ended_well(study)}) < 2
    lack = _lack(study, num_dimensions=2) or ("every trial has the same value" if is_level else "")
    if lack:
        yield LeftOut(title, lack)
        return
    sentence = (
        "The share of each dimension in what tells the best tenth of the trials from all "
        f"(PED-ANOVA, Watanabe et al. 2023), of {len(ended_well(study))} that ended well. Of few "
        "trials it is a hint, no more."
    )
    options = {"params": varied_dimensions(study)}
    yield Picture(IMPORTANCES, IMPORTANCES + ending, title, sentence, study, options)


def _slices(study: optuna.Study, objective: str, *, ending: str) -> Iterator[Picture | LeftOut]:
    """One picture, or several where there are many dimensions."""
    title = f"{objective}: by each dimension alone"
    lack = _lack(study, num_dimensions=1)
    if lack:
        yield LeftOut(title, lack)
        return
    sentence = (
        "Each dot is a trial that ended well; later ones are darker. Where the good ones crowd at "
        "an edge, the range may be too narrow."
    )
    varied = varied_dimensions(study)
    num_parts = math.ceil(len(varied) / _MOST_SLICES)
    for part in range(num_parts):
        number = f"_{part + 1}" if num_parts > 1 else ""
        params = varied[part::num_parts]
        options = {"params": params, "target_name": objective}
        yield Picture(SLICE, f"{SLICE}{ending}{number}", title, sentence, study, options)


def _parallel(study: optuna.Study, objectives: Sequence[str]) -> Picture | LeftOut:
    title = "Trials as a whole"
    lack = _lack(study, num_dimensions=2)
    if lack:
        return LeftOut(title, lack)
    sentence = (
        "Each line is a trial that ended well, through its values; darker is better. It runs "
        "through None where its branch does not have a dimension."
    )
    options: dict[str, Any] = {"params": varied_dimensions(study)}
    if len(objectives) == 1:
        options["target_name"] = objectives[0]
    return Picture(PARALLEL, PARALLEL, title, sentence, study, options)


def _intermediate(study: optuna.Study, objectives: Sequence[str]) -> Picture | LeftOut:
    title = "Trials while they trained"
    if len(objectives) > 1:
        return LeftOut(title, "of several objectives none is heard before a trial ends")
    drawn = [t for t in study.get_trials(deepcopy=False) if t.state is not TrialState.FAIL]
    if not any(len(trial.intermediate_values) > 1 for trial in drawn):
        return LeftOut(title, "no trial was validated twice")
    sentence = (
        f"{objectives[0]} at each validation. The best trial is red, one that was pruned grey, one "
        "that still runs orange."
    )
    return Picture(INTERMEDIATE, INTERMEDIATE, title, sentence, study)


def _lack(study: optuna.Study, *, num_dimensions: int) -> str:
    """Say what a picture of so many dimensions lacks in the study; empty where nothing."""
    if len(ended_well(study)) < 2:
        return "it needs two trials that ended well"
    if not varied_dimensions(study):
        return "no dimension has had two values"
    is_enough = len(varied_dimensions(study)) >= num_dimensions
    return "" if is_enough else "one dimension alone has had two values"


def _ending(objective: str, objectives: Sequence[str]) -> str:
    """What tells the files of one objective from those of another."""
    return "" if len(objectives) == 1 else "_" + re.sub(r"[^A-Za-z0-9_.-]+", "_", objective)
