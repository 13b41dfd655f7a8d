"""Tokenizers come out the same for the same text, lose nothing they need, and load elsewhere."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from vertiform.corpus.tokenizer import (
    TokenizerParams,
    special_ids,
    train_tokenizer,
    write_tokenizer,
)
from vertiform.errors import ConfigError, CorpusError

FIVE_SCRIPTS = {
    "latin": "The caf\u00e9's na\u00efve r\u00e9sum\u00e9 is 12% longer.",
    "cyrillic": "\u041c\u043e\u0434\u0435\u043b\u044c \u0433\u043e\u0442\u043e\u0432\u0430.",
    "chinese": "\u60a3\u8005\u6bcf\u65e5\u670d\u836f\u4e00\u6b21\u3002",
    "arabic": "\u0627\u0644\u0646\u0645\u0648\u0630\u062c \u0645\u062f\u0631\u0628",
    "devanagari": "\u092e\u0949\u0921\u0932 \u0924\u0948\u092f\u093e\u0930 \u0939\u0948",
}


def texts():
    """Words in random order, those of the five scripts and new ones of their letters."""
    chooser = random.Random(0)
    words = [word for text in FIVE_SCRIPTS.values() for word in text.split()]
    made_up = ["".join(chooser.choices(word, k=5)) for word in words for _ in range(20)]
    return [" ".join(chooser.choices(words + made_up, k=20)) for _ in range(200)]


def trained(kind, *, vocab_size=300, lowercase=False, characters=1000, corpus=None):
    params = TokenizerParams(kind, vocab_size, lowercase, characters)
    return train_tokenizer(lambda: corpus or texts(), params, domain="legal")


def characters_of(text):
    return "".join(text.split())


@pytest.mark.parametrize("script", FIVE_SCRIPTS)
def test_byte_level_bpe_gives_back_every_byte(script):
    tokenizer = trained("byte_level_bpe")
    text = FIVE_SCRIPTS[script] + "  two spaces\n\ttab"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


@pytest.mark.parametrize("script", FIVE_SCRIPTS)
def test_wordpiece_gives_back_every_character_but_spaces(script):
    tokenizer = trained("wordpiece")
    text = FIVE_SCRIPTS[script]
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert special_ids(tokenizer).unk not in ids
    assert characters_of(tokenizer.decode(ids)) == characters_of(text)


def test_byte_level_bpe_knows_scripts_that_it_was_never_shown():
    tokenizer = trained("byte_level_bpe", corpus=["aab aac aabb"] * 50, vocab_size=264)
    for text in FIVE_SCRIPTS.values():
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_a_lowercase_wordpiece_has_no_case_and_no_accents():
    tokenizer = trained("wordpiece", lowercase=True)
    assert tokenizer.encode("CAF\u00c9").ids == tokenizer.encode("cafe").ids


def test_each_chinese_character_is_a_token_of_its_own():
    tokens = trained("wordpiece").encode(FIVE_SCRIPTS["chinese"], add_special_tokens=False).tokens
    assert tokens == list(FIVE_SCRIPTS["chinese"])


def test_characters_beyond_the_alphabet_are_unknown():
    tokenizer = trained(
        "wordpiece", corpus=["abab abba aa \u4e00"] * 50, vocab_size=12, characters=2
    )
    ids = tokenizer.encode("ab \u4e00", add_special_tokens=False).ids
    assert ids[-1] == special_ids(tokenizer).unk
    assert special_ids(tokenizer).unk not in ids[:-1]


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level_bpe"])
def test_special_tokens_come_first_and_frame_a_text(kind):
    tokenizer = trained(kind)
    ids = special_ids(tokenizer)
    assert [ids.pad, ids.unk, ids.cls, ids.sep, ids.mask] == [0, 1, 2, 3, 4]
    encoded = tokenizer.encode("text").ids
    assert (encoded[0], encoded[-1]) == (ids.cls, ids.sep)
    assert tokenizer.encode("[MASK]", add_special_tokens=False).ids == [ids.mask]


def test_a_vocabulary_larger_than_the_text_allows_says_how_far_it_goes():
    with pytest.raises(
        CorpusError, match=r"gives a vocabulary of \d+ tokens, not the 5,000"
    ) as error:
        trained("wordpiece", vocab_size=5000)
    assert "domains.legal.tokenize.tokenizer.vocab_size" in error.value.fix


def test_a_vocabulary_smaller_than_the_alphabet_says_so():
    with pytest.raises(CorpusError, match=r"characters of `legal` alone take \d+ tokens"):
        trained("wordpiece", vocab_size=20)


def test_an_unknown_kind_is_answered_with_the_one_meant():
    with pytest.raises(ConfigError, match=r"did you mean `wordpiece`"):
        trained("wordpeice")


TRAIN = """
import hashlib
from tests.corpus.test_tokenizer import trained
for kind in ("wordpiece", "byte_level_bpe"):
    print(kind, hashlib.sha256(trained(kind, vocab_size=290).to_str().encode()).hexdigest())
"""


@pytest.mark.slow
def test_three_processes_train_the_same_bytes():
    # tokenizers' own WordPiece trainer gave another vocabulary in each process.
    root = Path(__file__).parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", TRAIN],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(outputs) == 1


@pytest.mark.slow  # transformers takes seconds to import
@pytest.mark.parametrize("kind", ["wordpiece", "byte_level_bpe"])
def test_transformers_loads_what_was_written(kind, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = trained(kind)
    write_tokenizer(tmp_path, tokenizer)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in FIVE_SCRIPTS.values():
        assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert (loaded.pad_token_id, loaded.mask_token_id) == (0, 4)
    assert len(loaded) == tokenizer.get_vocab_size()
