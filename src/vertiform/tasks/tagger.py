"""The baseline of entities: a linear model over features of a word and the tag before it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.svm import LinearSVC

from vertiform.evaluation import names
from vertiform.tasks.baselines import WordFeaturesParams
from vertiform.tasks.bio import allowed_transitions, best_sequence
from vertiform.tasks.calibration import fit_temperature
from vertiform.tasks.classification import softmax
from vertiform.tasks.entities import Entities
from vertiform.tasks.rows import Row, TaskData
from vertiform.tasks.task import Prediction, scores_of

BEGINNING = "(beginning)"  # stands where a tag or a word before the first would
SHORTENED = re.compile(r"(.)\1+")
FIRST_TEMPERATURE = 0.5  # of margins, to choose C by; between 0.3 and 1 scores hardly differ


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """See baselines.Baseline.

    A maximum-margin version of the maximum-entropy Markov model (McCallum et al. 2000): margins
    for a word's tag given its features and the tag before, made conditional probabilities by a
    softmax; the most probable valid sequence wins.
    """

    task: Entities
    params: WordFeaturesParams
    counter: CountVectorizer
    weights: np.ndarray  # (features, C)
    intercepts: np.ndarray  # (C,)
    settings: dict[str, Any]
    temperature: float = FIRST_TEMPERATURE

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """See Baseline."""
        return [self._predict(row, margins) for row, margins in self.margins(rows)]

    def margins(self, rows: Sequence[Row]) -> Iterator[tuple[Row, np.ndarray]]:
        """Yield each row with its margins by word, tag before and tag: (words, C + 1, C)."""
        features = [_features(row["tokens"], self.params) for row in rows]
        counted = self.counter.transform([word for of_row in features for word in of_row])
        of_words = np.asarray(counted @ self.weights) + self.intercepts  # (all words, C)
        of_before = self._weights_of_tag_before()
        end = 0
        for row in rows:
            start, end = end, end + len(row["tokens"])
            yield row, of_words[start:end, None, :] + of_before

    def _predict(self, row: Row, margins: np.ndarray) -> Prediction:
        if not len(margins):
            return {"tags": [], "confidences": []}
        probabilities = softmax(margins / self.temperature)  # (words, C + 1, C)
        tags = best_sequence(np.log(probabilities + 1e-300), allowed_transitions(self.task.outputs))
        before = np.concatenate(([len(self.task.outputs)], tags[:-1]))
        chosen = probabilities[np.arange(len(tags)), before, tags]
        return {"tags": [self.task.outputs[tag] for tag in tags], "confidences": chosen.tolist()}

    def _weights_of_tag_before(self) -> np.ndarray:
        """(C + 1, C): what the tag before adds to each tag's margin; 0 for one never seen."""
        known = self.counter.vocabulary_
        rows = [known.get(_before(tag)) for tag in (*self.task.outputs, BEGINNING)]
        zero = np.zeros(self.weights.shape[1])
        return np.stack([zero if row is None else self.weights[row] for row in rows])


def fit_tagger(data: TaskData, params: WordFeaturesParams, *, seed: int) -> Tagger:
    """Fit one for each C; return the best on validation, its temperature fitted there."""
    task = Entities(labels=data.labels)
    rows, validation = data.splits["train"], data.splits["validation"]
    counter = CountVectorizer(analyzer=list, binary=True, dtype=np.float32)
    counted = csr_matrix(counter.fit_transform(_training_features(rows, params)))
    best: Tagger | None = None
    best_score = -1.0
    for c in params.inverse_regularizations:
        fitted = _fit(counted, rows, task=task, params=params, counter=counter, c=c, seed=seed)
        scores = scores_of(task, validation, fitted.predict(validation), split="validation")
        if scores[names.VAL_ENTITY_F1] > best_score:
            best, best_score = fitted, scores[names.VAL_ENTITY_F1]
    assert best is not None
    return replace(best, temperature=_temperature(best, validation))


def _fit(
    counted: csr_matrix,
    rows: Sequence[Row],
    *,
    task: Entities,
    params: WordFeaturesParams,
    counter: CountVectorizer,
    c: float,
    seed: int,
) -> Tagger:
    tags = np.concatenate([task.targets(row) for row in rows])
    machine = LinearSVC(C=c, random_state=seed).fit(counted, tags)
    # Only the tags that were seen have weights; with two of them, scikit-learn gives one column.
    seen, seen_intercepts = machine.coef_.T, machine.intercept_
    if len(machine.classes_) == 2:
        seen = np.concatenate([-seen, seen], axis=1)
        seen_intercepts = np.concatenate([-seen_intercepts, seen_intercepts])
    weights = np.zeros((counted.shape[1], len(task.outputs)))
    intercepts = np.full(len(task.outputs), -10.0)  # far below the margin of any tag seen
    weights[:, machine.classes_], intercepts[machine.classes_] = seen, seen_intercepts
    return Tagger(
        task=task,
        params=params,
        counter=counter,
        weights=weights,
        intercepts=intercepts,
        settings={"inverse_regularization": c},
    )


def _temperature(tagger: Tagger, rows: Sequence[Row]) -> float:
    """The temperature under which the right tag, after the right tag before, is most probable."""
    margins, targets = [], []
    for row, of_row in tagger.margins(rows):
        target = tagger.task.targets(row)
        before = np.concatenate(([len(tagger.task.outputs)], target[:-1])).astype(np.int64)
        margins.append(of_row[np.arange(len(target)), before])
        targets.append(target)
    return fit_temperature(margins, targets)


def _training_features(rows: Sequence[Row], params: WordFeaturesParams) -> Iterator[list[str]]:
    for row in rows:
        before = [BEGINNING, *row["tags"][:-1]]
        for features, tag in zip(_features(row["tokens"], params), before, strict=True):
            yield [*features, _before(tag)]


def _before(tag: str) -> str:
    return f"before={tag}"


def _features(words: Sequence[str], params: WordFeaturesParams) -> list[list[str]]:
    """Each word's features: its own, its neighbours', and the pairs it makes with them.

    As in taggers before neural ones (Ratinov & Roth 2009, section 3).
    """
    own = [_features_of(word, params.affix_characters) for word in words]
    lower = [BEGINNING, *(word.lower() for word in words), BEGINNING]
    found = []
    for place in range(len(words)):
        features = [*own[place], f"pair-={lower[place]} {lower[place + 1]}"]
        features.append(f"pair+={lower[place + 1]} {lower[place + 2]}")
        for distance in range(-params.window_words, params.window_words + 1):
            neighbour = place + distance
            if distance and not 0 <= neighbour < len(words):
                features.append(f"{distance}:{BEGINNING}")
            elif distance:  # of far neighbours only the word and its shape
                kept = own[neighbour] if abs(distance) == 1 else own[neighbour][:2]
                features += [f"{distance}:{feature}" for feature in kept]
        found.append(features)
    return found


def _features_of(word: str, affix_characters: int) -> list[str]:
    lower = word.lower()
    features = [f"word={lower}", f"shape={_shape(word)}", f"length={min(len(word), 8)}"]
    for size in range(1, min(affix_characters, len(lower) - 1) + 1):
        features += [f"prefix={lower[:size]}", f"suffix={lower[-size:]}"]
    return features


def _shape(word: str) -> str:
    """HTTPServer2 is XXxxd: capitals, small letters and digits, runs of one kind cut to two."""
    kinds = (
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word
    )
    return SHORTENED.sub(r"\1\1", "".join(kinds))
