import re

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from tests.tasks.small import ones_and_twos, tiny_checkpoint
from vertiform.batches.examples import NO_UNIT
from vertiform.corpus.mentions import TOKEN
from vertiform.tasks.bundle import load_tokenizer
from vertiform.tasks.entities import CERTAINLY_OUTSIDE, Entities

TASK = Entities(labels=("one", "two"))  # outputs: O, B-one, I-one, B-two, I-two


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(tiny_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def byte_level():
    """A tokenizer whose tokens begin with the space before their word."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(["the theatre of Zürich"] * 9, vocab_size=300)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, cls_token="the", sep_token="the", pad_token="the"
    )


def row(words, tags=None):
    return {"tokens": words} if tags is None else {"tokens": words, "tags": tags}


def test_each_word_is_labelled_once(tokenizer):
    (example,) = TASK.encode(
        [row(["w1", "w2", "w3"], ["B-one", "I-one", "O"])], tokenizer=tokenizer, max_tokens=16
    )
    assert tokenizer.convert_ids_to_tokens(example.input_ids) == [
        "[CLS]",
        "w1",
        "w2",
        "w3",
        "[SEP]",
    ]
    assert example.targets.tolist() == [1, 2, 0]
    assert example.unit_of.tolist() == [NO_UNIT, 0, 1, 2, NO_UNIT]


def test_a_word_s_capitals_go_with_each_of_its_tokens(byte_level):
    words = ["theatre", "ZurichTheatre", "HTTP"]
    (example,) = TASK.encode([row(words)], tokenizer=byte_level, max_tokens=64)
    assert [set(example.cases[example.unit_of == u]) for u in range(3)] == [{0}, {3}, {1}]
    assert (example.cases == 3).sum() > 1
    assert example.cases[[0, -1]].tolist() == [0, 0]


@pytest.mark.parametrize("words", [["Zürich", "theatre"], ["東京", "x", "的"], ["e\u0301", "q"]])
def test_words_are_found_again_in_byte_level_tokens(byte_level, words):
    tags = ["B-one"] + ["O"] * (len(words) - 1)
    (example,) = TASK.encode([row(words, tags)], tokenizer=byte_level, max_tokens=64)
    assert example.units.tolist() == list(range(len(words)))
    assert example.targets.tolist() == [1] + [0] * (len(words) - 1)
    read = byte_level.decode(example.input_ids[example.unit_of == 1])
    assert read.strip() == words[1]


@pytest.mark.parametrize("max_tokens", [3, 4, 7, 16, 100])
def test_a_long_row_is_read_in_parts_that_hold_each_word_once(byte_level, max_tokens):
    words = ["theatre", "of", "Zürich", "xyzxyzxyzxyz", "the"] * 3
    examples = TASK.encode([row(words)], tokenizer=byte_level, max_tokens=max_tokens)
    held = [w for example in examples for w in example.units]
    assert sorted(set(held)) == list(range(15))
    if max_tokens >= 16:  # else the long word alone is cut
        assert held == list(range(15))
    assert all(len(example.input_ids) <= max_tokens for example in examples)


def test_a_word_that_fits_is_never_cut(byte_level):
    words = ["theatre", "xyzxyz", "Zürich"] * 4
    examples = TASK.encode([row(words)], tokenizer=byte_level, max_tokens=10)
    assert [w for example in examples for w in example.units] == list(range(12))


def test_a_word_longer_than_the_network_reads_gets_the_mean_of_its_parts(byte_level):
    rows = [row(["xyzxyzxyz"])]
    examples = TASK.encode(rows, tokenizer=byte_level, max_tokens=8)
    assert len(examples) == 2
    (gathered,) = TASK.gather(rows, examples, [np.full((1, 5), 1.0), np.full((1, 5), 4.0)])
    assert gathered.tolist() == [[2.5] * 5]


def test_a_row_of_several_parts_is_gathered_in_order(tokenizer):
    rows = [row(["w1", "w2", "w3", "w4", "w5"]), row(["w6"])]
    examples = TASK.encode(rows, tokenizer=tokenizer, max_tokens=4)
    assert [example.row for example in examples] == [0, 0, 0, 1]
    logits = [np.repeat(e.input_ids[1:-1, None], 5, axis=1).astype(float) for e in examples]
    first, second = TASK.gather(rows, examples, logits)
    assert tokenizer.convert_ids_to_tokens(first[:, 0].astype(int)) == [
        "w1",
        "w2",
        "w3",
        "w4",
        "w5",
    ]
    assert second.shape == (1, 5)


def test_a_word_the_tokenizer_leaves_nothing_of_is_outside(tokenizer):
    rows = [row(["w1", " ", "w2"])]
    examples = TASK.encode(rows, tokenizer=tokenizer, max_tokens=16)
    (gathered,) = TASK.gather(rows, examples, [np.zeros((2, 5))])
    assert gathered[0].tolist() == [0] * 5
    assert gathered[1].tolist() == [CERTAINLY_OUTSIDE, 0, 0, 0, 0]
    assert TASK.decode(gathered, temperature=1.0)["tags"][1] == "O"


def test_what_is_decoded_is_always_valid():
    rng = np.random.default_rng(0)
    for _ in range(50):
        tags = TASK.decode(rng.normal(size=(9, 5)) * 3, temperature=1.0)["tags"]
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert tag[:2] != "I-" or before[1:] == tag[1:]


def test_a_confidence_is_the_probability_of_the_tag():
    prediction = TASK.decode(np.array([[0.0, 2.0, 0.0, 0.0, 0.0]]), temperature=1.0)
    assert prediction["tags"] == ["B-one"]
    assert prediction["confidences"] == [pytest.approx(np.e**2 / (np.e**2 + 4))]


def test_no_words_are_no_tags():
    assert TASK.decode(np.empty((0, 5)), temperature=1.0) == {"tags": [], "confidences": []}


def test_entities_are_presented_by_their_characters():
    text = "  Use w5 w6, or w1."
    found = TASK.row_of(text)
    tags = ["O", "B-two", "I-two", "O", "O", "B-one", "O"]
    prediction = {"tags": tags, "confidences": [1.0, 0.9, 0.8, 1.0, 1.0, 0.7, 1.0]}
    shown = TASK.present(text, found, prediction)
    assert shown["entities"] == [
        {"text": "w5 w6", "type": "two", "start": 6, "end": 11, "confidence": 0.8},
        {"text": "w1", "type": "one", "start": 16, "end": 18, "confidence": 0.7},
    ]
    assert text[6:11] == "w5 w6"


def test_raw_text_is_split_as_the_labelled_sentences_were():
    text = "Pass `max_iter=5` to os.path.join(), e.g. in a_b.C; Zürich's 3.5% isn't..."
    assert TASK.row_of(text)["tokens"] == re.findall(TOKEN, text)


def test_unspaced_scripts_are_split_by_character():
    assert TASK.row_of("東京tower的")["tokens"] == ["東", "京", "tower", "的"]


def test_targets_are_the_numbers_of_outputs():
    rows = ones_and_twos(5, seed=0)
    for labelled in rows:
        assert [TASK.outputs[t] for t in TASK.targets(labelled)] == labelled["tags"]


def test_entities_found_missed_and_made_up_are_compared_in_their_order():
    labelled = row(["a", "b", "c", "d", "e"], ["B-one", "I-one", "O", "B-two", "O"])
    prediction = {
        "tags": ["B-one", "I-one", "O", "O", "B-one"],
        "confidences": [0.9, 0.8, 1.0, 0.6, 0.5],
    }
    text, told = TASK.compare(labelled, prediction)
    assert text == "a b c d e"
    assert told == [
        {"of": "a b", "truth": "one", "prediction": "one", "confidence": 0.8},
        {"of": "d", "truth": "two", "prediction": "none", "confidence": ""},
        {"of": "e", "truth": "none", "prediction": "one", "confidence": 0.5},
    ]


def test_a_row_without_entities_has_nothing_to_compare():
    prediction = {"tags": ["O"], "confidences": [0.9]}
    assert TASK.compare(row(["a"], ["O"]), prediction) == ("a", [])
