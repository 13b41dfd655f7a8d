"""Small labelled rows and predictions, made from a seed."""

from typing import Any

import numpy as np

from vertiform.evaluation.bootstrap import Resampling
from vertiform.evaluation.slices import Slicing

LABELS = ["data", "graphics", "network", "web"]
TYPES = ["class", "function"]
RESAMPLING = Resampling(seed=0, resamples=200, confidence=0.95)
SLICING = Slicing(min_rows=10, num_length_buckets=4)


def class_rows(n: int, *, seed: int) -> list[dict[str, Any]]:
    labels = np.random.default_rng(seed).choice(LABELS, size=n)
    return [
        {"id": f"row-{i:03d}", "text": f"passage {i}", "label": str(label), "group": "g"}
        for i, label in enumerate(labels)
    ]


def class_predictions(
    rows: list[dict[str, Any]], *, skill: float, seed: int
) -> list[dict[str, Any]]:
    """Random probabilities, moved by `skill` (0-1) towards the truth."""
    generator = np.random.default_rng(seed)
    predictions = []
    for row in rows:
        values = generator.dirichlet(np.ones(len(LABELS))) * (1 - skill)
        values[LABELS.index(row["label"])] += skill
        predictions.append(
            {
                "label": LABELS[int(values.argmax())],
                "probabilities": dict(zip(LABELS, values.tolist(), strict=True)),
            }
        )
    return predictions


def class_task(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "task": "area",
        "kind": "classification",
        "labels": LABELS,
        "rows": {"test": len(rows)},
        "sha256": {"test": "ab" * 32},
    }


def tagged(tags: str, **fields: Any) -> dict[str, Any]:
    """A row of entities from its tags, written in one line."""
    split = tags.split()
    return {"id": "row", "tokens": [f"t{i}" for i in range(len(split))], "tags": split, **fields}


def tagging(tags: str, confidences: list[float] | None = None) -> dict[str, Any]:
    split = tags.split()
    return {"tags": split, "confidences": confidences or [0.9] * len(split)}
