"""Predicts with a fine-tuned model: evaluation, packaging and serving all come through here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.errors import VertiformError
from vertiform.tasks.bundle import Bundle, BundleFacts, read_bundle
from vertiform.tasks.outputs import row_logits
from vertiform.tasks.rows import Row
from vertiform.tasks.task import Prediction, Task, task_of


class InputError(VertiformError):
    """Something sent to be predicted that is no text."""


@dataclass(frozen=True)
class Predictor:
    """A fine-tuned model that answers.

    A text's answer depends on the text alone, bit for bit, however texts are put together in
    calls (on one machine, with one number of threads).
    """

    bundle: Bundle
    task: Task

    @classmethod
    def load(cls, folder: Path) -> "Predictor":
        """Read a bundle folder (tasks.bundle). Raises TrainingError if it is none or damaged."""
        bundle = read_bundle(folder)
        return cls(bundle, task_of(bundle.facts.kind, bundle.facts.labels))

    @property
    def facts(self) -> BundleFacts:
        """What the model is: its task, labels and validation scores."""
        return self.bundle.facts

    def predict(self, inputs: Sequence[str]) -> list[dict[str, Any]]:
        """Answer each text.

        Of a classification {"label", "confidence", "probabilities": {label: p}}; of entities
        {"text", "entities": [{"text", "type", "start", "end", "confidence"}]}, in characters.
        """
        _check_is_text(inputs)
        rows = [self.task.row_of(text) for text in inputs]
        predictions = self.score_rows(rows)
        return [
            self.task.present(text, row, prediction)
            for text, row, prediction in zip(inputs, rows, predictions, strict=True)
        ]

    def score_rows(self, rows: Sequence[Row]) -> list[Prediction]:
        """Return the prediction for each labelled row, as evaluation.predictions takes them."""
        logits = row_logits(
            rows,
            task=self.task,
            network=self.bundle.network,
            tokenizer=self.bundle.tokenizer,
            max_tokens=self.facts.max_tokens,
        )
        return [self.task.decode(of_row, temperature=self.facts.temperature) for of_row in logits]


def _check_is_text(inputs: Sequence[str]) -> None:
    if isinstance(inputs, str):
        raise InputError("One text was sent where a list is expected.", fix="send [text].")
    for place, text in enumerate(inputs):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"Input {place} is {'empty' if isinstance(text, str) else type(text).__name__}; "
                "there is nothing to predict.",
                fix="send texts of at least one character.",
            )
