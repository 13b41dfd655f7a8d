"""Text that shares a run of words with a held-out example is found, whatever its dress."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertiform.corpus.decontaminate import HeldOut, words_of

EXAMPLE = "the patient was given ten grams of the drug on each of the following nine days"  # 16
CHINESE = "\u60a3\u8005\u6bcf\u65e5\u670d\u836f\u4e00\u6b21\u8fde\u7eed\u670d\u7528\u5341\u5929"


def found(texts, *examples, ngram_words=13, min_example_words=3):
    named = [(f"e{number}", text) for number, text in enumerate(examples)]
    held_out = HeldOut(named, ngram_words=ngram_words, min_example_words=min_example_words)
    return [shared.text_number for shared in held_out.find(texts)]


def test_words_are_compared_without_case_punctuation_and_width():
    assert words_of("The patient's \uff21\uff22-12, max_iter") == [
        *("the", "patient", "s", "ab", "12", "max", "iter")
    ]


def test_a_text_with_thirteen_words_of_an_example_is_found_and_with_twelve_is_not():
    words = EXAMPLE.split()
    assert found(["Then " + " ".join(words[2:15]).upper() + "!"], EXAMPLE) == [0]
    assert found(["Then " + " ".join(words[2:14])], EXAMPLE) == []


def test_the_run_of_words_and_the_example_are_named():
    held_out = HeldOut([("area/test/7", EXAMPLE)], ngram_words=4, min_example_words=4)
    shared = next(held_out.find(["unlike this", f"it says: {EXAMPLE}"]))
    assert (shared.text_number, shared.example_id) == (1, "area/test/7")
    assert shared.words == "the patient was given"


def test_an_example_shorter_than_the_run_is_found_where_all_of_it_stands():
    assert found(["we gave ten grams daily", "ten grams"], "Gave ten grams!") == [0]


def test_an_example_too_short_to_mean_anything_is_only_counted():
    held_out = HeldOut([("a", "ten grams")], ngram_words=13, min_example_words=3)
    assert list(held_out.find(["ten grams"])) == []
    assert (held_out.num_examples, held_out.num_too_short) == (1, 1)


def test_in_chinese_each_character_counts_as_a_word():
    assert found([f"\u524d\u6587\u3002{CHINESE[:13]}\u540e\u6587"], CHINESE) == [0]
    assert found([f"\u524d\u6587\u3002{CHINESE[:12]}\u540e\u6587"], CHINESE) == []


def test_a_run_across_two_texts_is_none():
    words = EXAMPLE.split()
    assert found([" ".join(words[:8]), " ".join(words[8:])], EXAMPLE) == []


def test_no_examples_find_nothing():
    assert found(["any text"]) == []
    assert found([], EXAMPLE) == []


WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@settings(max_examples=200)
@given(texts=st.lists(WORDS, max_size=6), examples=st.lists(WORDS, max_size=4))
def test_exactly_what_a_plain_search_finds_is_found(texts, examples):
    def shares(text, example):
        length = min(4, len(example))
        runs = {tuple(example[i : i + length]) for i in range(len(example) - length + 1)}
        return len(example) >= 2 and any(
            tuple(text[i : i + length]) in runs for i in range(len(text) - length + 1)
        )

    expected = [n for n, text in enumerate(texts) if any(shares(text, e) for e in examples)]
    joined = [" ".join(text) for text in texts]
    assert found(joined, *map(" ".join, examples), ngram_words=4, min_example_words=2) == expected


@pytest.mark.parametrize("place", [0, 4095, 4096, 9000])
def test_a_text_is_found_wherever_it_stands(place):
    texts = ["nothing of the kind"] * 9001
    texts[place] = EXAMPLE
    assert found(texts, EXAMPLE) == [place]
