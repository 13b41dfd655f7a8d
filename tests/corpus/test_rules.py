import pytest

from vertiform.corpus.html_markup import without_html
from vertiform.corpus.repetition import (
    duplicate_fractions,
    duplicate_ngram_fraction,
    top_ngram_fraction,
)
from vertiform.corpus.rules import (
    Repetition,
    fixed_unicode,
    num_words,
    repeated_lines,
    repeated_ngrams,
    tidy_whitespace,
    without_control_characters,
)
from vertiform.corpus.words import is_unspaced, words_of

GOPHER = Repetition(
    max_duplicate_line_fraction=0.30,
    max_duplicate_line_character_fraction=0.20,
    max_duplicate_paragraph_fraction=0.30,
    max_duplicate_paragraph_character_fraction=0.20,
    max_top_ngram_fraction=(0.20, 0.18, 0.16),
    max_duplicate_ngram_fraction=(0.15, 0.14, 0.13, 0.12, 0.11, 0.10),
)
GOUT_IN_CHINESE = "\u75db\u98ce\u3002"


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("caf\u00c3\u00a9", "caf\u00e9"),  # UTF-8 read as Latin-1
        ("cafe\u0301", "caf\u00e9"),  # NFC
        ("\ufb01sh", "fish"),
        ("\u201cquoted\u201d\uff0c\uff11", "\u201cquoted\u201d\uff0c\uff11"),  # right in Chinese
        ("plain &amp; simple", "plain &amp; simple"),
    ],
)
def test_unicode_is_repaired_and_what_is_right_is_left(text, fixed):
    assert fixed_unicode(text) == fixed


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\x00b\x1b[31mred\x1b[0m\u200b\ufeff\u00ad", "abred"),
        ("tab\tand\nline", "tab\tand\nline"),
        # Persian and Hindi are spelt with joiners.
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    ],
)
def test_what_is_never_seen_is_removed(text, clean):
    assert without_control_characters(text) == clean


def test_space_that_says_nothing_is_removed():
    assert tidy_whitespace("\n a \n\n\n\nb\u3000\n") == "a\n\nb"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("<p>One <b>two</b>.</p><p>Three&nbsp;&lt;4</p>", "\nOne two.\n\nThree\xa0<4\n"),
        ("<script>x < y</script>a<!-- b --> c", "a c"),
        ("<class 'int'>, List<String>, a < b > c", "<class 'int'>, List<String>, a < b > c"),
        ("?a=1&copy=2", "?a=1&copy=2"),
        ('<a href="x">link</a> &#8212; end', "link \u2014 end"),
    ],
)
def test_html_becomes_what_a_reader_sees_and_code_stays(text, seen):
    assert without_html(text) == seen


def test_words_are_counted_in_every_script():
    assert num_words("Take one pill, twice a day.") == 6
    assert num_words("\u75db\u98ce\u662f\u4e00\u79cd disease\u3002") == 6
    assert words_of("Na\u00efve B-cells\u3001\u75db\u98ce") == [
        "na\u00efve",
        "b",
        "cells",
        "\u75db",
        "\u98ce",
    ]
    assert is_unspaced(GOUT_IN_CHINESE)
    assert not is_unspaced("Gout \u75db\u98ce is a disease")


def test_duplicate_lines_are_those_that_stood_before():
    assert duplicate_fractions(["ab", "cd", "ab", "ab"]) == (0.5, 0.5)
    assert duplicate_fractions(["ab", "cd"]) == (0.0, 0.0)
    assert duplicate_fractions([]) == (0.0, 0.0)


def test_the_top_ngram_counts_all_its_characters_once_it_repeats():
    words = ["a", "bb", "a", "bb", "cc", "d"]
    assert top_ngram_fraction(words, n=2) == 6 / 9
    assert top_ngram_fraction(["a", "b", "c"], n=2) == 0
    assert top_ngram_fraction(["a"], n=2) == 0


def test_overlapping_duplicate_ngrams_count_each_character_once():
    words = ["a", "b", "c", "d", "e", "x", "a", "b", "c", "d", "e"]
    assert duplicate_ngram_fraction(words, n=3) == 5 / 11
    assert duplicate_ngram_fraction(words[:6], n=3) == 0


def test_repeated_lines_and_ngrams_are_measured_against_gophers_limits():
    sentence = "The joint is red and hot to the touch at night."
    assert "of lines" in repeated_lines("\n".join([sentence] * 3), GOPHER)
    assert "of paragraphs" in repeated_lines("x y\nz\n\nx y\nz\n\nx y\nz\n\na", REPEATS_PARAGRAPHS)
    assert "most frequent 2 words" in repeated_ngrams(" ".join([sentence] * 6), GOPHER)
    varied = " ".join(f"word{i} and word{i * 7}" for i in range(99, 139))
    assert repeated_ngrams(varied, GOPHER) is None
    long_copy = " ".join(f"w{i}" for i in range(60))
    assert "5 words that stood before" in repeated_ngrams(f"{long_copy} end {long_copy}", GOPHER)


REPEATS_PARAGRAPHS = Repetition(
    max_duplicate_line_fraction=1.0,
    max_duplicate_line_character_fraction=1.0,
    max_duplicate_paragraph_fraction=0.30,
    max_duplicate_paragraph_character_fraction=0.20,
    max_top_ngram_fraction=(),
    max_duplicate_ngram_fraction=(),
)


def test_a_short_text_may_name_its_subject_twice():
    assert repeated_ngrams("Gout attack after gout attack: gout attack.", GOPHER) is None


def test_chinese_ngrams_are_of_twice_as_many_characters():
    # Fifty different pairs, each once: two characters repeat, four do not.
    varied = "".join(f"{chr(0x4E00 + i)}\u75c5\u4eba{chr(0x5E00 + i)}" for i in range(80))
    assert repeated_ngrams(varied, GOPHER) is None
    assert repeated_ngrams("\u75db\u98ce\u662f\u4e00\u79cd\u75be\u75c5" * 30, GOPHER)
