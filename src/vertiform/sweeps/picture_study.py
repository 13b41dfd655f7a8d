"""Copies of a study in memory, made to be drawn: short names, one objective, finite values."""

import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from vertiform.sweeps.labels import short_names

_MAX_CHOICE_CHARACTERS = 15


def with_short_names(study: optuna.Study, objectives: Sequence[str]) -> optuna.Study:
    """Copy a study into memory; dimensions, choices and objectives named as people read them."""
    trials = study.get_trials(deepcopy=False)
    names = short_names(key for trial in trials for key in trial.params)
    copy = optuna.create_study(directions=study.directions)
    copy.set_metric_names(list(objectives))
    for trial in trials:
        params, kinds = {}, {}
        for key, value in trial.params.items():
            kind = trial.distributions[key]
            if isinstance(kind, CategoricalDistribution):
                choices = _short_choices(kind.choices)
                value = choices[int(kind.to_internal_repr(value))]
                kind = CategoricalDistribution(choices)
            params[names[key]], kinds[names[key]] = value, kind
        copy.add_trial(_copied(trial, trial.values, params=params, distributions=kinds))
    return copy


def single_objective(study: optuna.Study, objective: int, name: str) -> optuna.Study:
    """Copy a study as if it had one of its objectives alone."""
    copy = optuna.create_study(direction=study.directions[objective])
    copy.set_metric_names([name])
    for trial in study.get_trials(deepcopy=False):
        values = [trial.values[objective]] if trial.values else None
        copy.add_trial(
            _copied(trial, values, params=trial.params, distributions=trial.distributions)
        )
    return copy


def ended_well(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ran to their end and whose values can be drawn."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in ended if all(map(math.isfinite, trial.values or ()))]


def varied_dimensions(study: optuna.Study) -> list[str]:
    """The dimensions that trials which ended well gave at least two values, by name."""
    seen: dict[str, set[Any]] = {}
    for trial in ended_well(study):
        for key, value in trial.params.items():
            seen.setdefault(key, set()).add(value)
    return sorted(key for key, values in seen.items() if len(values) > 1)


def _short_choices(choices: Sequence[Any]) -> list[Any]:
    """Cut long words in their middle, as they mostly differ at an end; nothing else changes."""
    short = []
    for number, choice in enumerate(choices):
        if isinstance(choice, str) and len(choice) > _MAX_CHOICE_CHARACTERS:
            half = (_MAX_CHOICE_CHARACTERS - 3) // 2
            cut = f"{choice[:half]}...{choice[-half:]}"
            choice = f"{cut} ({number})" if cut in short or cut in choices else cut
        short.append(choice)
    return short


def _copied(trial: FrozenTrial, values: list[float] | None, **changed: Any) -> FrozenTrial:
    has_ended_well = trial.state is TrialState.COMPLETE
    return create_trial(
        state=trial.state,
        values=values if has_ended_well else None,
        intermediate_values=trial.intermediate_values,
        **changed,
    )
