"""Names in a text and their types, as B-, I- and O tags of words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertiform.batches.examples import IGNORED, NO_UNIT, Example
from vertiform.corpus.words import split_words
from vertiform.evaluation.entity_scores import entities_of, entity_confidence
from vertiform.tasks.bio import allowed_transitions, best_sequence, tags_of
from vertiform.tasks.case import case_of
from vertiform.tasks.classification import framed, softmax
from vertiform.tasks.rows import Row
from vertiform.tasks.task import Prediction

CERTAINLY_OUTSIDE = 30.0  # logit of O for a word the tokenizer leaves nothing of


@dataclass(frozen=True, kw_only=True)
class Entities:
    """See task.Task. Tags are of words, whatever tokens they are read as."""

    labels: tuple[str, ...]
    kind = "entities"
    labels_each_word = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """O, then B- and I- of each type."""
        return tags_of(self.labels)

    def row_of(self, text: str) -> Row:
        """See Task. The words are split as the stage `label` splits them."""
        spans = split_words(text)
        return {
            "tokens": [word for word, _, _ in spans],
            "spans": [(start, end) for _, start, end in spans],
        }

    def encode(self, rows: Sequence[Row], *, tokenizer: Any, max_tokens: int) -> list[Example]:
        """See Task. A row longer than max_tokens is cut between words into several examples."""
        texts = [" ".join(row["tokens"]) for row in rows]
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # else it warns of rows longer than the network reads; we cut them
        )
        examples: list[Example] = []
        for n, row in enumerate(rows):
            ids = np.array(encoded["input_ids"][n], dtype=np.int64)
            word_of = _word_of_token(row["tokens"], encoded["offset_mapping"][n])
            cases_of = np.array([case_of(word) for word in row["tokens"]], dtype=np.int64)
            targets = self.targets(row) if "tags" in row else np.full(len(cases_of), IGNORED)
            for part in _parts(word_of, room=max_tokens - 2):
                units, unit_of = np.unique(word_of[part], return_inverse=True)
                examples.append(
                    Example(
                        row=n,
                        input_ids=framed(ids[part], tokenizer.cls_token_id, tokenizer.sep_token_id),
                        cases=framed(cases_of[word_of[part]], 0, 0),
                        unit_of=framed(unit_of, NO_UNIT, NO_UNIT),
                        targets=targets[units],
                        units=units,
                    )
                )
        return examples

    def targets(self, row: Row) -> np.ndarray:
        """See Task."""
        outputs = self.outputs
        return np.array([outputs.index(tag) for tag in row["tags"]], dtype=np.int64)

    def gather(
        self, rows: Sequence[Row], examples: Sequence[Example], logits: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """See Task. A word without any token is certainly outside."""
        sums = [np.zeros((len(row["tokens"]), len(self.outputs))) for row in rows]
        counts = [np.zeros(len(row["tokens"])) for row in rows]
        for example, of_words in zip(examples, logits, strict=True):
            sums[example.row][example.units] += of_words[: len(example.units)]
            counts[example.row][example.units] += 1
        for of_row, count in zip(sums, counts, strict=True):
            of_row[count == 0, 0] = CERTAINLY_OUTSIDE
            of_row /= np.maximum(count, 1)[:, None]  # a word longer than the network reads
        return sums

    def decode(self, row_logits: np.ndarray, *, temperature: float) -> Prediction:
        """See Task. The most probable tags that form valid entities. row_logits: (words, C)."""
        if not len(row_logits):
            return {"tags": [], "confidences": []}
        probabilities = softmax(row_logits / temperature)  # (words, C)
        with np.errstate(divide="ignore"):
            emissions = np.maximum(np.log(probabilities), -1e6)
        best = best_sequence(emissions, allowed_transitions(self.outputs))
        return {
            "tags": [self.outputs[tag] for tag in best],
            "confidences": np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0].tolist(),
        }

    def compare(self, row: Row, prediction: Prediction) -> tuple[str, list[dict[str, Any]]]:
        """See Task. A row for each span that is an entity, or was taken for one, in their order."""
        truth = {(e.start, e.end): e for e in entities_of(row["tags"])}
        found = {(e.start, e.end): e for e in entities_of(prediction["tags"])}
        told = []
        for start, end in sorted(truth.keys() | found.keys()):
            right, said = truth.get((start, end)), found.get((start, end))
            told.append(
                {
                    "of": " ".join(row["tokens"][start:end]),
                    "truth": right.type if right else "none",
                    "prediction": said.type if said else "none",
                    "confidence": (
                        entity_confidence(prediction["confidences"], said) if said else ""
                    ),
                }
            )
        return " ".join(row["tokens"]), told

    def present(self, text: str, row: Row, prediction: Prediction) -> dict[str, Any]:
        """See Task. start and end are places in `text`; end is not part of the entity."""
        found = []
        for entity in entities_of(prediction["tags"]):
            start, end = row["spans"][entity.start][0], row["spans"][entity.end - 1][1]
            found.append(
                {
                    "text": text[start:end],
                    "type": entity.type,
                    "start": start,
                    "end": end,
                    "confidence": entity_confidence(prediction["confidences"], entity),
                }
            )
        return {"text": text, "entities": found}


def _word_of_token(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the word that each token of the words, joined by spaces, belongs to: (T,) int64.

    By the token's last character: a byte-level token may begin with the space before its word.
    """
    ends = np.cumsum([len(word) + 1 for word in words])  # where the next word begins
    last = np.array([max(start, end - 1) for start, end in offsets], dtype=np.int64)
    return np.searchsorted(ends, last, side="right")


def _parts(word_of: np.ndarray, *, room: int) -> Iterator[slice]:
    """Cut the tokens of a row into parts of at most `room`, between words if that is possible."""
    first = 0
    while first < len(word_of):
        last = min(first + room, len(word_of))
        cut = last
        while last < len(word_of) and cut > first and word_of[cut] == word_of[cut - 1]:
            cut -= 1
        last = cut if cut > first else last  # else one word is longer than the network reads
        yield slice(first, last)
        first = last
