"""Errors a user can put right. Every one carries the sentence that says how."""

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_DONE = 0
EXIT_REFUSED = 1  # a gate said no
EXIT_USER = 2  # the user can put it right: one line and a `Fix:` line
EXIT_BUG = 70  # ours
MOST_CHOICES = 20  # that one message names


class VertiformError(Exception):
    """Something the user can put right; `fix` is the sentence that says how."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem}\n  Fix: {fix}")
        self.problem = problem
        self.fix = fix


class ConfigError(VertiformError):
    """A parameter or an override that is unknown, missing, or out of its range."""


class CorpusError(VertiformError):
    """Text, labels or tokens that are missing, broken, or not enough."""


class TrainingError(VertiformError):
    """A training run that cannot start or cannot go on."""


class TrackingError(VertiformError):
    """A run, model or alias that MLflow does not hold, or a store that cannot be reached."""


class StorageError(VertiformError):
    """A disk that is full or a place that cannot be written."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word nearest to `word`, or the known ones if none is."""
    choices = sorted(known)
    near = get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    shown, left = choices[:MOST_CHOICES], len(choices) - MOST_CHOICES
    return f"choose one of: {', '.join(shown)}{f', and {left} more' if left > 0 else ''}."
