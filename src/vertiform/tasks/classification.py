"""One label for each text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertiform.batches.examples import IGNORED, Example
from vertiform.tasks.rows import Row
from vertiform.tasks.task import Prediction


@dataclass(frozen=True, kw_only=True)
class Classification:
    """See task.Task. A text is cut at the longest input; its output is one distribution."""

    labels: tuple[str, ...]
    kind = "classification"
    labels_each_word = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    def row_of(self, text: str) -> Row:
        """See Task."""
        return {"text": text}

    def encode(self, rows: Sequence[Row], *, tokenizer: Any, max_tokens: int) -> list[Example]:
        """See Task. One example for each row."""
        ids = tokenizer(
            [row["text"] for row in rows],
            add_special_tokens=False,
            truncation=True,
            max_length=max_tokens - 2,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        examples = []
        for n, row in enumerate(rows):
            input_ids = framed(ids[n], tokenizer.cls_token_id, tokenizer.sep_token_id)
            examples.append(
                Example(
                    row=n,
                    input_ids=input_ids,
                    cases=np.zeros_like(input_ids),
                    unit_of=np.zeros_like(input_ids),  # the text is one unit, CLS and SEP in it
                    targets=self.targets(row) if "label" in row else np.array([IGNORED]),
                    units=np.zeros(1, dtype=np.int64),
                )
            )
        return examples

    def targets(self, row: Row) -> np.ndarray:
        """See Task."""
        return np.array([self.labels.index(row["label"])], dtype=np.int64)

    def gather(
        self, rows: Sequence[Row], examples: Sequence[Example], logits: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """See Task. A row is one example."""
        return [of_text[0] for of_text in logits]

    def decode(self, row_logits: np.ndarray, *, temperature: float) -> Prediction:
        """See Task. row_logits: (C,)."""
        probabilities = softmax(row_logits / temperature)
        return {
            "label": self.labels[int(probabilities.argmax())],
            "probabilities": dict(zip(self.labels, probabilities.tolist(), strict=True)),
        }

    def compare(self, row: Row, prediction: Prediction) -> tuple[str, list[dict[str, Any]]]:
        """See Task. One row."""
        label = prediction["label"]
        told = {
            "truth": row["label"],
            "prediction": label,
            "confidence": prediction["probabilities"][label],
        }
        return row["text"], [told]

    def present(self, text: str, row: Row, prediction: Prediction) -> dict[str, Any]:
        """See Task."""
        probabilities = prediction["probabilities"]
        return {
            "label": prediction["label"],
            "confidence": probabilities[prediction["label"]],
            "probabilities": probabilities,
        }


def framed(values: Sequence[int] | np.ndarray, before: int, after: int) -> np.ndarray:
    """Put one value before and one after: (T,) to (T + 2,) int64."""
    return np.array([before, *values, after], dtype=np.int64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
