from tests.evaluation.examples import class_predictions, class_rows, tagged, tagging
from vertiform.evaluation.mistakes import NOTHING, most_confident_mistakes


def test_mistakes_come_most_confident_first_and_no_more_than_asked():
    rows = class_rows(60, seed=0)
    predictions = class_predictions(rows, skill=0.1, seed=1)
    mistakes = most_confident_mistakes("classification", rows, predictions, limit=5)
    confidences = [m["confidence"] for m in mistakes]
    wrong = [
        p["probabilities"][p["label"]]
        for r, p in zip(rows, predictions, strict=True)
        if p["label"] != r["label"]
    ]
    assert confidences == [round(c, 6) for c in sorted(wrong, reverse=True)[:5]]
    assert all(m["truth"] != m["predicted"] for m in mistakes)


def test_the_order_of_rows_does_not_change_the_table():
    rows = class_rows(60, seed=0)
    predictions = [{"label": "web", "probabilities": {r["label"]: 0.5, "web": 0.5}} for r in rows]
    there = most_confident_mistakes("classification", rows, predictions, limit=20)
    back = most_confident_mistakes("classification", rows[::-1], predictions[::-1], limit=20)
    assert there == back


def test_a_long_text_is_cut_and_its_lines_joined():
    row = {"id": "a", "text": "word \n" * 200, "label": "web"}
    prediction = {"label": "data", "probabilities": {"data": 0.9, "web": 0.1}}
    [mistake] = most_confident_mistakes("classification", [row], [prediction], limit=1)
    assert len(mistake["text"]) == 400
    assert mistake["text"].endswith("...")
    assert "\n" not in mistake["text"]
    assert (mistake["confidence"], mistake["confidence_in_truth"]) == (0.9, 0.1)


def test_an_entity_is_wrong_by_type_by_span_from_nothing_or_missed():
    rows = [
        tagged("B-class I-class O"),
        tagged("B-class I-class O"),
        tagged("O O"),
        tagged("B-class"),
    ]
    predictions = [
        tagging("B-function I-function O", [0.9, 0.8, 0.9]),
        tagging("B-class O O", [0.7, 0.9, 0.9]),
        tagging("O B-class", [0.9, 0.6]),
        tagging("O", [0.5]),
    ]
    mistakes = most_confident_mistakes("entities", rows, predictions, limit=20)
    assert [(m["truth"], m["predicted"], m["confidence"]) for m in mistakes] == [
        ("class: t0 t1", "function: t0 t1", 0.8),
        ("class: t0 t1", "class: t0", 0.7),
        (NOTHING, "class: t1", 0.6),
        ("class: t0", NOTHING, 0.5),
    ]


def test_a_neighbour_is_not_the_same_entity():
    mistakes = most_confident_mistakes(
        "entities", [tagged("B-class O")], [tagging("O B-class", [0.8, 0.9])], limit=9
    )
    assert [(m["truth"], m["predicted"]) for m in mistakes] == [
        (NOTHING, "class: t1"),
        ("class: t0", NOTHING),
    ]


def test_the_place_of_an_entity_mistake_is_marked_in_its_sentence():
    row = tagged(" ".join(["O"] * 30))
    prediction = tagging(" ".join(["O"] * 14 + ["B-class", "I-class"] + ["O"] * 14))
    [mistake] = most_confident_mistakes("entities", [row], [prediction], limit=1)
    words = mistake["text"].split()
    assert words[0] == words[-1] == "..."
    assert "t13 [t14 t15] t16" in mistake["text"]


def test_a_perfect_prediction_has_no_mistakes():
    rows = class_rows(10, seed=0)
    predictions = class_predictions(rows, skill=1, seed=0)
    assert most_confident_mistakes("classification", rows, predictions, limit=20) == []
    assert (
        most_confident_mistakes("entities", [tagged("B-class")], [tagging("B-class")], limit=9)
        == []
    )
