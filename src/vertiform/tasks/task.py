"""What every kind of task says: how rows become examples, and outputs become predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vertiform.batches.examples import Example
from vertiform.errors import ConfigError
from vertiform.tasks.rows import Row, TaskData, read_task

Prediction = Mapping[str, Any]  # see evaluation.predictions


class Task(Protocol):
    """One file each: classification.py, entities.py. Knows labels, never a network or a file.

    Logits of a row are (C,) or, where each word is labelled, (words, C): C is len(outputs). What
    is labelled, the text or a word, is a unit (batches.examples).
    """

    @property
    def kind(self) -> str:
        """A key of evaluation.names.SCORES."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, or the types of entities."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The name of each output of the network."""
        ...

    @property
    def labels_each_word(self) -> bool:
        """Whether the network's outputs are of words, rather than of the whole text."""
        ...

    def row_of(self, text: str) -> Row:
        """Return an unlabelled row for a text to predict."""
        ...

    def encode(self, rows: Sequence[Row], *, tokenizer: Any, max_tokens: int) -> list[Example]:
        """Return the examples of `rows`, in their order. Unlabelled rows get ignored targets.

        tokenizer: a fast tokenizer of transformers.
        """
        ...

    def targets(self, row: Row) -> np.ndarray:
        """Return the numbers of a row's right outputs: (1,) or (words,) int64."""
        ...

    def gather(
        self, rows: Sequence[Row], examples: Sequence[Example], logits: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Return each row's logits from those of its examples, (U, C) each."""
        ...

    def decode(self, row_logits: np.ndarray, *, temperature: float) -> Prediction:
        """Return the prediction for a row, its confidences softened by `temperature`."""
        ...

    def compare(self, row: Row, prediction: Prediction) -> tuple[str, list[dict[str, Any]]]:
        """Return a labelled row's text, and a table of what is true and what was predicted: rows
        of `truth`, `prediction`, `confidence` and, where the text is not the unit, `of` what.
        """
        ...

    def present(self, text: str, row: Row, prediction: Prediction) -> dict[str, Any]:
        """Return what a person who sent `text` is told."""
        ...


@dataclass(frozen=True, kw_only=True)
class TaskParams:
    """One file of conf/task/.

    name:       folder of the task in data/<domain>/tasks.
    kind:       must be what its task.json says.
    score:      by which validation chooses (evaluation.names).
    max_tokens: a longer text is cut there; longer rows of words are read in parts.
    baseline:   what a network is held against (tasks.baselines).
    """

    name: str
    kind: str
    score: str
    max_tokens: int
    baseline: Any


def open_task(params: TaskParams, tasks: Path) -> TaskData:
    """Read the task that `params` names from the folder of a domain's tasks.

    Raises CorpusError as read_task does, and ConfigError if the task is of another kind.
    """
    data = read_task(tasks / params.name)
    if data.kind != params.kind:
        raise ConfigError(
            f"Task {data.name} is of kind {data.kind}, but the run is set for {params.kind}.",
            fix=f"add `task={data.kind}` to the command.",
        )
    return data


def task_of(kind: str, labels: Sequence[str]) -> Task:
    """Return the task of a kind, "classification" or "entities"."""
    from vertiform.tasks.classification import Classification
    from vertiform.tasks.entities import Entities

    kinds = {"classification": Classification, "entities": Entities}
    return kinds[kind](labels=tuple(labels))


def scores_of(
    task: Task, rows: Sequence[Row], predictions: Sequence[Prediction], *, split: str
) -> dict[str, float]:
    """Score predictions under the full names of metrics, those of single classes left out."""
    from vertiform.evaluation import names
    from vertiform.evaluation.bootstrap import point_values
    from vertiform.evaluation.predictions import measure_of

    values = point_values(
        measure_of(task.kind, rows, predictions, labels=task.labels), rows=len(rows)
    )
    defined = [score for score in names.SCORES[task.kind] if score in values]
    return {names.on(split, score): values[score] for score in defined}
