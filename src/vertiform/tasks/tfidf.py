"""The baseline of a classification: a linear support vector machine over TF-IDF."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from vertiform.evaluation import names
from vertiform.tasks.baselines import TfidfParams
from vertiform.tasks.calibration import fit_temperature
from vertiform.tasks.classification import Classification
from vertiform.tasks.rows import Row, TaskData
from vertiform.tasks.task import Prediction, scores_of

LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "km", "my"})


@dataclass(frozen=True, kw_only=True)
class Tfidf:
    """See baselines.Baseline. Confidences are a softmax of margins, by a temperature."""

    task: Classification
    vectorizer: TfidfVectorizer
    machine: LinearSVC
    settings: dict[str, Any]
    temperature: float = 1.0

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """See Baseline."""
        margins = self.margins(rows)
        return [self.task.decode(margin, temperature=self.temperature) for margin in margins]

    def margins(self, rows: Sequence[Row]) -> np.ndarray:
        """Return how far each row is on each label's side: (N, C) float64."""
        seen = self.machine.decision_function(
            self.vectorizer.transform([row["text"] for row in rows])
        )
        if seen.ndim == 1:  # of two classes scikit-learn gives one margin
            seen = np.stack([-seen, seen], axis=1)
        # A label without a training row is further away than any other.
        margins = np.full((len(rows), len(self.task.labels)), seen.min() - 1)
        margins[:, [self.task.labels.index(label) for label in self.machine.classes_]] = seen
        return margins


def fit_tfidf(data: TaskData, params: TfidfParams, *, seed: int) -> Tfidf:
    """Fit one for each setting; return the best on validation, its temperature fitted there."""
    task = Classification(labels=data.labels)
    rows, validation = data.splits["train"], data.splits["validation"]
    best: Tfidf | None = None
    best_score = -1.0
    for common_words, vectorizer in _vectorizers(params, language=data.language):
        counted = vectorizer.fit_transform([row["text"] for row in rows])
        for c in params.inverse_regularizations:
            # Balanced: the score counts every class alike, whatever its number of rows.
            machine = LinearSVC(C=c, class_weight="balanced", random_state=seed)
            fitted = Tfidf(
                task=task,
                vectorizer=vectorizer,
                machine=machine.fit(counted, [row["label"] for row in rows]),
                settings={"common_words": common_words, "inverse_regularization": c},
            )
            scores = scores_of(task, validation, fitted.predict(validation), split="validation")
            if scores[names.VAL_F1_MACRO] > best_score:
                best, best_score = fitted, scores[names.VAL_F1_MACRO]
    assert best is not None
    temperature = fit_temperature(
        list(best.margins(validation)), [task.targets(row) for row in validation]
    )
    return Tfidf(
        task=task,
        vectorizer=best.vectorizer,
        machine=best.machine,
        settings=best.settings,
        temperature=temperature,
    )


def _vectorizers(params: TfidfParams, *, language: str) -> Iterator[tuple[str, TfidfVectorizer]]:
    """Vectorizers with common words kept, and left out in the ways there are for the language."""
    if language in LANGUAGES_WITHOUT_SPACES:
        analyzer: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, params.character_ngrams)}
    else:
        analyzer = {"analyzer": "word", "ngram_range": (1, params.word_ngrams)}
    common: dict[str, dict[str, Any]] = {
        "kept": {},
        f"in over {params.common_fraction:.0%} of texts dropped": {
            "max_df": params.common_fraction
        },
    }
    if language == "en":
        common["English stop words dropped"] = {"stop_words": "english"}
    for what, dropped in common.items():
        yield what, TfidfVectorizer(sublinear_tf=True, **analyzer, **dropped)
