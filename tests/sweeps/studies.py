"""Real studies for the tests of tables, pictures and reports: small, quick, and of every kind."""

import math
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from vertiform.sweeps.dimensions import Choice, Float
from vertiform.sweeps.space import Space
from vertiform.sweeps.study import Study, open_study

OPENED = datetime(2026, 11, 28, 12, 0, 0)
_DISTRIBUTIONS = {
    "optimizer.lr": FloatDistribution(1e-5, 1e-1, log=True),
    "optimizer.weight_decay": FloatDistribution(0.0, 0.3),
    "budget.epochs": IntDistribution(1, 12),
    "optimizer": CategoricalDistribution(("adamw", "muon")),
}

SPACE = Space((Float("x", 0.0, 1.0), Choice("optimizer", ("adamw", "muon"))))
AS_IT_IS = {"x": 0.5, "optimizer": "muon"}
SAMPLERS = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=3, multivariate=True, group=True, constant_liar=True
    ),
}


def opened(folder: Path, *, n_trials: int = 3, sampler: str = "random", **changes: Any) -> Study:
    """Open a study of SPACE that is kept in `folder`; `changes` are arguments of open_study."""
    how = {
        "folder": folder,
        "address": None,
        "heartbeat_seconds": 10,
        "directions": ["minimize"],
        "pruner": optuna.pruners.NopPruner(),
        "make_sampler": SAMPLERS[sampler],
        "space": SPACE,
        "seed": 7,
        "n_trials": n_trials,
    }
    return open_study("s", **(how | changes))


def study_in(folder: Path, **changes: Any) -> Study:
    """Open it begun, with AS_IT_IS as its first trial."""
    study = opened(folder, **changes)
    study.begin("same", first=[AS_IT_IS])
    return study


def trial_of(
    number: int,
    state: TrialState,
    *values: float,
    began: float | None = 0,
    lasted: float = 60,
    heard: dict[int, float] | None = None,
    **params: Any,
) -> FrozenTrial:
    """A trial as a study gives it; `began` and `lasted` in seconds after OPENED."""
    params = {key.replace("__", "."): value for key, value in params.items()}
    start = None if began is None else OPENED + timedelta(seconds=began)
    has_ended = start is not None and state.is_finished()
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        values=list(values) or None,
        datetime_start=start,
        datetime_complete=start + timedelta(seconds=lasted) if has_ended else None,
        params=params,
        distributions={key: _DISTRIBUTIONS[key] for key in params},
        user_attrs={},
        system_attrs={},
        intermediate_values=heard or {},
    )


def pruned_study(n_trials: int = 24, *, seed: int = 0) -> optuna.Study:
    """A study of one objective with a branch, a log scale, choices, pruned and failed trials."""
    quiet()
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    study.optimize(_quality, n_trials=n_trials, catch=(FloatingPointError,))
    return study


def study_of_several(n_objectives: int, n_trials: int = 24, *, seed: int = 0) -> optuna.Study:
    """A study of two or three objectives: quality up, latency and size down."""
    quiet()
    study = optuna.create_study(
        directions=("maximize", "minimize", "minimize")[:n_objectives],
        sampler=optuna.samplers.NSGAIISampler(seed=seed, population_size=8),
    )
    study.optimize(lambda trial: _several(trial)[:n_objectives], n_trials=n_trials)
    return study


def quiet() -> None:
    """Keep Optuna's lines for every trial, and for every failed one, out of the tests."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _quality(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("starts.domain.optimizer.lr", 1e-5, 1e-1, log=True)
    dropout = trial.suggest_float("model.dropout", 0.0, 0.5)
    epochs = trial.suggest_int("budget.epochs", 2, 6)
    optimizer = trial.suggest_categorical("optimizer", ["adamw", "muon"])
    bonus = 0.0
    if optimizer == "muon":
        bonus = 0.1 * trial.suggest_float("optimizer.momentum", 0.8, 0.99)
    if lr > 0.06:
        trial.set_user_attr("reason", "the loss is not a number")
        raise FloatingPointError("the loss is not a number")
    best = 0.9 - 0.1 * abs(-3 - math.log10(lr)) - 0.2 * abs(dropout - 0.1) + bonus
    for epoch in range(1, epochs + 1):
        trial.report(best * (1 - 0.5**epoch), step=50 * epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return best * (1 - 0.5**epochs)


def _several(trial: optuna.Trial) -> tuple[float, float, float]:
    width = trial.suggest_int("model.width", 64, 512, log=True)
    layers = trial.suggest_int("model.num_layers", 1, 6)
    lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)
    quality = 0.5 + 0.05 * layers + width / 2_000 - 0.05 * abs(-3 - math.log10(lr))
    return quality, 0.02 * layers * width, 12 * layers * width**2 / 1e6
