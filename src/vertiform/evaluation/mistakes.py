"""The mistakes worth reading first: those the model was surest of."""

from collections.abc import Sequence
from typing import Any

from vertiform.evaluation.entity_scores import Entity, entities_of, entity_confidence
from vertiform.evaluation.predictions import Prediction, Row, check_kind

NOTHING = "(nothing)"  # where no entity stands, or none was found

_MAX_TEXT_CHARACTERS = 400
_CONTEXT_TOKENS = 8  # on each side of an entity


def most_confident_mistakes(
    kind: str, rows: Sequence[Row], predictions: Sequence[Prediction], *, limit: int
) -> list[dict[str, Any]]:
    """Return the `limit` mistakes with the highest confidence, as rows of one table.

    Each has id, text, truth, predicted and confidence, and for a classification also
    confidence_in_truth. In the text of an entity mistake [brackets] mark the place.
    """
    check_kind(kind)
    mistakes_of = _class_mistakes if kind == "classification" else _entity_mistakes
    mistakes = [m for pair in zip(rows, predictions, strict=True) for m in mistakes_of(*pair)]
    # The id settles equal confidences, so that the table does not depend on the order of rows.
    mistakes.sort(key=lambda m: (-m["confidence"], str(m["id"]), m["text"]))
    return mistakes[:limit]


def _class_mistakes(row: Row, prediction: Prediction) -> list[dict[str, Any]]:
    predicted = prediction["label"]
    if predicted == row["label"]:
        return []
    text = " ".join(row["text"].split())
    if len(text) > _MAX_TEXT_CHARACTERS:
        text = text[: _MAX_TEXT_CHARACTERS - 3] + "..."
    return [
        {
            "id": row["id"],
            "text": text,
            "truth": row["label"],
            "predicted": predicted,
            "confidence": round(float(prediction["probabilities"][predicted]), 6),
            "confidence_in_truth": round(float(prediction["probabilities"][row["label"]]), 6),
        }
    ]


def _entity_mistakes(row: Row, prediction: Prediction) -> list[dict[str, Any]]:
    """Return the predicted entities that are wrong, and the true ones that nothing touches."""
    truth, predicted = entities_of(row["tags"]), entities_of(prediction["tags"])
    pairs = [(_nearest(e, truth), e, e) for e in predicted if e not in truth]
    pairs += [(e, None, e) for e in truth if _nearest(e, predicted) is None]
    return [
        {
            "id": row["id"],
            "text": _in_context(row["tokens"], place),
            "truth": _named(row["tokens"], true),
            "predicted": _named(row["tokens"], guess),
            "confidence": round(entity_confidence(prediction["confidences"], place), 6),
        }
        for true, guess, place in pairs
    ]


def _nearest(entity: Entity, others: Sequence[Entity]) -> Entity | None:
    """Return the one of `others` that shares the most tokens with `entity`, or None."""
    shared = [(min(entity.end, o.end) - max(entity.start, o.start), o) for o in others]
    overlap, nearest = max(shared, key=lambda pair: pair[0], default=(0, None))
    return nearest if overlap > 0 else None


def _named(tokens: Sequence[str], entity: Entity | None) -> str:
    if entity is None:
        return NOTHING
    return f"{entity.type}: {' '.join(tokens[entity.start : entity.end])}"


def _in_context(tokens: Sequence[str], entity: Entity) -> str:
    first, last = max(0, entity.start - _CONTEXT_TOKENS), entity.end + _CONTEXT_TOKENS
    words = [
        *(["..."] if first else []),
        *tokens[first : entity.start],
        f"[{' '.join(tokens[entity.start : entity.end])}]",
        *tokens[entity.end : last],
        *(["..."] if last < len(tokens) else []),
    ]
    return " ".join(words)
