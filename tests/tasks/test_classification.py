import numpy as np
import pytest

from tests.tasks.small import tiny_checkpoint
from vertiform.batches.examples import IGNORED
from vertiform.tasks.bundle import load_tokenizer
from vertiform.tasks.classification import Classification, softmax

TASK = Classification(labels=("high", "low", "medium"))


def test_a_text_becomes_one_example_cut_at_the_longest(tmp_path):
    tokenizer = load_tokenizer(tiny_checkpoint(tmp_path))
    rows = [{"text": "w1 w2", "label": "low"}, {"text": "w3 " * 50, "label": "high"}]
    short, long = TASK.encode(rows, tokenizer=tokenizer, max_tokens=8)
    words = tokenizer.convert_ids_to_tokens(short.input_ids)
    assert words == ["[CLS]", "w1", "w2", "[SEP]"]
    assert len(long.input_ids) == 8
    assert (short.targets.tolist(), long.targets.tolist(), long.row) == ([1], [0], 1)


def test_a_text_without_label_has_an_ignored_target(tmp_path):
    tokenizer = load_tokenizer(tiny_checkpoint(tmp_path))
    (example,) = TASK.encode([TASK.row_of("w1")], tokenizer=tokenizer, max_tokens=8)
    assert example.targets.tolist() == [IGNORED]


def test_the_most_probable_label_is_predicted():
    prediction = TASK.decode(np.array([1.0, 3.0, 2.0]), temperature=1.0)
    assert prediction["label"] == "low"
    assert sum(prediction["probabilities"].values()) == pytest.approx(1.0)


def test_a_temperature_changes_confidence_and_never_the_label():
    logits = np.array([1.0, 3.0, 2.0])
    sharp, soft = (TASK.decode(logits, temperature=t) for t in (0.5, 5.0))
    assert sharp["label"] == soft["label"]
    assert sharp["probabilities"]["low"] > soft["probabilities"]["low"]


def test_what_is_presented_has_its_confidence():
    prediction = TASK.decode(np.array([1.0, 3.0, 2.0]), temperature=1.0)
    shown = TASK.present("w1", {"text": "w1"}, prediction)
    assert (
        shown["confidence"]
        == shown["probabilities"]["low"]
        == max(prediction["probabilities"].values())
    )


def test_softmax_does_not_overflow():
    assert softmax(np.array([1e4, 0.0])).tolist() == [1.0, 0.0]


def test_a_labelled_row_is_compared_with_its_prediction():
    prediction = TASK.decode(np.array([1.0, 3.0, 2.0]), temperature=1.0)
    text, (told,) = TASK.compare({"text": "w1", "label": "high"}, prediction)
    assert text == "w1"
    assert told == {
        "truth": "high",
        "prediction": "low",
        "confidence": prediction["probabilities"]["low"],
    }
