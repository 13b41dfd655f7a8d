import numpy as np
import pytest

from tests.builders import SPECIAL, tiny_tokens
from vertiform.batches.vocabulary import Vocabulary, read_vocabulary, vocabulary_of
from vertiform.corpus.tokenizer import TokenizerParams, special_ids, train_tokenizer

TEXT = "The heart (or heart's) fails (or not). Why? Because of an infarction! caf\u00e9 \u3002 3,5"


def trained(kind: str, *, vocab_size: int) -> Vocabulary:
    params = TokenizerParams(
        kind=kind, vocab_size=vocab_size, lowercase=True, max_alphabet_characters=100
    )
    tokenizer = train_tokenizer(lambda: [TEXT] * 3, params, domain="tiny")
    return vocabulary_of(tokenizer, size=vocab_size, special_ids=special_ids(tokenizer))


VOCABULARIES = {
    "wordpiece": trained("wordpiece", vocab_size=70),
    "byte_level_bpe": trained("byte_level_bpe", vocab_size=310),
}


def words_of(vocabulary: Vocabulary, text: str) -> list[str]:
    ids = vocabulary.tokenizer.encode(text).ids
    starts = np.flatnonzero(vocabulary.word_starts(np.array([ids]))[0])
    return [vocabulary.tokenizer.decode(part.tolist()) for part in np.split(ids, starts[1:])]


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_words_are_what_a_reader_takes_for_words(kind):
    vocabulary = VOCABULARIES[kind]
    words = words_of(vocabulary, "The heart (or infarction) fails.")
    # [CLS] and [SEP], which decode to nothing, are words of their own.
    assert [word.strip().lower() for word in words] == [
        "",
        "the",
        "heart",
        "(",
        "or",
        "infarction",
        ")",
        "fails",
        ".",
        "",
    ]


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_character_of_several_bytes_is_not_torn_into_words(kind):
    assert len(words_of(VOCABULARIES[kind], "caf\u00e9 \u00e9\u00e9")) == 4


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_sentences_end_at_their_marks_alone(kind):
    vocabulary = VOCABULARIES[kind]
    ids = vocabulary.tokenizer.encode(TEXT).ids
    ending = [n for n in ids if vocabulary.ends_sentence[n]]
    said = [vocabulary.tokenizer.decode([n]).strip() for n in ending]
    # Byte-level BPE makes one token of `).`, and of a mark of three bytes maybe several.
    assert [mark[-1] for mark in said if mark != "\u3002"] == [".", "?", "!"]


def test_a_term_is_encoded_as_it_opens_a_text_and_as_it_stands_within():
    vocabulary = VOCABULARIES["byte_level_bpe"]
    (forms,) = vocabulary.encode(["heart"])
    assert {vocabulary.tokenizer.decode(list(form)) for form in forms} == {"heart", " heart"}
    assert len(VOCABULARIES["wordpiece"].encode(["heart", "or"])[0]) == 1


def test_the_vocabulary_of_a_tokens_folder_is_read(tmp_path):
    vocabulary = read_vocabulary(tmp_path, tiny_tokens(tmp_path, vocab_size=60))
    assert vocabulary.size == len(vocabulary.starts_word) == 60
    assert vocabulary.special_ids == SPECIAL
    assert np.flatnonzero(vocabulary.is_special).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_tokens_are_read_as_text_with_what_is_hidden_among_it(kind):
    vocabulary = VOCABULARIES[kind]
    ids = vocabulary.tokenizer.encode("the infarction fails", add_special_tokens=False).ids
    mask = vocabulary.special_ids.mask
    text = vocabulary.text_of([mask, *ids, mask])
    assert "infarction fails" in text
    assert text.startswith(vocabulary.text_of([mask]))
    assert text.count(vocabulary.text_of([mask])) == 2
    assert "the".startswith(vocabulary.text_of(ids[:1]))
