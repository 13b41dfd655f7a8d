"""What a network must beat: a linear model over counted words, or over features of each word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vertiform.errors import ConfigError
from vertiform.tasks.rows import Row, TaskData
from vertiform.tasks.task import Prediction


@dataclass(frozen=True, kw_only=True)
class TfidfParams:
    """A linear support vector machine over TF-IDF (tasks.tfidf).

    word_ngrams:      longest n-gram of words.
    character_ngrams: longest n-gram of characters, in languages written without spaces.
    common_fraction:  a word in a larger fraction of the texts may be left out; validation chooses.
    inverse_regularizations: C, tried in turn; validation chooses.
    """

    word_ngrams: int
    character_ngrams: int
    common_fraction: float
    inverse_regularizations: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class WordFeaturesParams:
    """A linear model over features of a word, its neighbours and the tag before it (tasks.tagger).

    window_words:     neighbours seen on each side.
    affix_characters: longest prefix and suffix.
    inverse_regularizations: C, tried in turn; validation chooses.
    """

    window_words: int
    affix_characters: int
    inverse_regularizations: Sequence[float]


class Baseline(Protocol):
    """A fitted baseline. Its predictions are as evaluation.predictions takes them."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What validation chose."""
        ...

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """Return the prediction for each row."""
        ...


def fit_baseline(
    data: TaskData, params: TfidfParams | WordFeaturesParams, *, seed: int
) -> Baseline:
    """Fit a task's baseline on its training split, its settings chosen on validation.

    Deterministic. Seconds for a few thousand rows.
    """
    from vertiform.tasks.tagger import fit_tagger
    from vertiform.tasks.tfidf import fit_tfidf

    if data.kind == "classification" and isinstance(params, TfidfParams):
        return fit_tfidf(data, params, seed=seed)
    if data.kind == "entities" and isinstance(params, WordFeaturesParams):
        return fit_tagger(data, params, seed=seed)
    raise ConfigError(
        f"{type(params).__name__} is no baseline of tasks of kind {data.kind}.",
        fix=f"take task.baseline from conf/task/{data.kind}.yaml.",
    )
