"""A gate is a function from evidence to rows, known by its name. Helpers for all gates."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vertiform.evaluation.evidence import Evidence
from vertiform.evaluation.verdict import GateRow

GateFunction = Callable[..., Iterator[GateRow]]
ScoresByKind = Mapping[str, tuple[str, ...]]  # kind of task: scores


@dataclass(frozen=True)
class Gate:
    """A gate, with what conf/gates/<alias>.yaml may say below its name."""

    function: GateFunction
    scores: ScoresByKind  # that it may bound, by the task's kind; empty: it bounds none

    @property
    def options(self) -> dict[str, Any]:
        """The options that must stand in the file, each with its annotation."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def bounded(self) -> tuple[str, ...]:
        """Every score that it may bound, of any kind of task."""
        return tuple(dict.fromkeys(score for scores in self.scores.values() for score in scores))


GATES: dict[str, Gate] = {}


def gate(function: GateFunction) -> GateFunction:
    """Make `function(evidence, *, <options>)` a gate under its own name."""
    GATES[function.__name__] = Gate(function, scores={})
    return function


def gate_of_scores(scores: ScoresByKind) -> Callable[[GateFunction], GateFunction]:
    """Make `function(evidence, *, <options>, **bounds)` a gate that bounds some of `scores`."""

    def add(function: GateFunction) -> GateFunction:
        GATES[function.__name__] = Gate(function, scores=scores)
        return function

    return add


def missing(name: str, evidence: Evidence, what: str, threshold: float | None = None) -> GateRow:
    """Refuse for want of evidence: for the reason that was found when measuring, else `what`."""
    why = evidence.unmeasured.get(name.partition(" ")[0], what)
    return GateRow(name, threshold, None, None, passed=False, reason=f"no evidence: {why}")


def most(name: str, measured: float, threshold: float, reason: str) -> GateRow:
    """Pass if `measured` is at most `threshold`. What is no number never passes."""
    return GateRow(name, threshold, measured, None, passed=measured <= threshold, reason=reason)


def said(name: str, *, passed: bool, reason: str) -> GateRow:
    """Decide where there is no figure, such as where nobody stands at the alias."""
    return GateRow(name, None, None, None, passed=passed, reason=reason)
