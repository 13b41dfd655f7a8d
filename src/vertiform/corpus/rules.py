"""The named rules of the stage clean, in their order: repairs first, then what is dropped.

for rule in rules_for(params, source="python_docs"): ...
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import ftfy

from vertiform.corpus.html_markup import without_html
from vertiform.corpus.language import other_language
from vertiform.corpus.markup import to_prose
from vertiform.corpus.repetition import (
    SHORTEST_DUPLICATE_NGRAM,
    SHORTEST_TOP_NGRAM,
    duplicate_fractions,
    duplicate_ngram_fraction,
    top_ngram_fraction,
)
from vertiform.corpus.words import is_unspaced, words_of

# Gopher's limits on n-grams were set for texts of 50 words or more (Rae et al. 2021, A1.1); in a
# shorter one a single term that is named twice can go over them.
FEWEST_WORDS_FOR_NGRAMS = 50
# Where words are not set apart by spaces: two characters make up about one word.
CHARACTERS_PER_UNSPACED_WORD = 2

# Mojibake, NFC and ligatures only. Full-width forms and curled quotes are right in Chinese.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    fix_character_width=False,
    uncurl_quotes=False,
    remove_control_chars=False,
    remove_terminal_escapes=False,
)
# Terminal colours; C0 but tab and line feed; C1; soft hyphen; zero-width space; marks of direction;
# word joiner; byte order mark; noncharacters. The joiners U+200C and U+200D stay: Persian and
# Indic words are spelt with them.
_CONTROL = re.compile(
    "\x1b\\[[0-9;]*[A-Za-z]"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    "\ufff9-\ufffb\ufffe\uffff]"
)
_LINE_ENDS = re.compile("\r\n?|\u2028|\x85")
_PARAGRAPH_ENDS = re.compile(r"\n[ \t]*\n")
_TRAILING_SPACE = re.compile(r"[ \t\u00a0\u3000]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
_SYMBOL = re.compile(r"[^\w\s]|_")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Repetition:
    """The most that may repeat: Gopher's limits (Rae et al. 2021, table A1), each a fraction.

    max_top_ngram_fraction:       of characters, for n = 2, 3, 4 words.
    max_duplicate_ngram_fraction: of characters, for n = 5, 6, ... 10 words.
    """

    max_duplicate_line_fraction: float
    max_duplicate_line_character_fraction: float
    max_duplicate_paragraph_fraction: float
    max_duplicate_paragraph_character_fraction: float
    max_top_ngram_fraction: tuple[float, ...]
    max_duplicate_ngram_fraction: tuple[float, ...]


@dataclass(frozen=True)
class CleanParams:
    """What clean repairs and drops. Counts of words take a character of an unspaced script as one.

    prose_sources:       sources whose reST, numpydoc or Google markup is turned into prose.
    max_symbol_fraction: of the characters but spaces, those that are neither letter nor digit.
    max_digit_fraction:  of the characters but spaces.
    languages:           ISO 639-1 codes; a text in another language is dropped. Empty keeps all.
    short_characters, short_confidence: below this length, only a foreign language that is as sure
                         as this is dropped.
    """

    prose_sources: tuple[str, ...]
    strips_html: bool
    min_words: int
    max_words: int
    max_symbol_fraction: float
    max_digit_fraction: float
    repetition: Repetition
    languages: tuple[str, ...]
    short_characters: int
    short_confidence: float


@dataclass(frozen=True)
class Repair:
    """A rule that gives the text back, changed or not."""

    name: str
    repaired: Callable[[str], str]


@dataclass(frozen=True)
class Filter:
    """A rule that says why a text is to be dropped, or None."""

    name: str
    why_dropped: Callable[[str], str | None]


def rules_for(params: CleanParams, *, source: str | None) -> list[Repair | Filter]:
    """Return the rules for the texts of one source, in order; None names every rule there is."""
    rules: list[Repair | Filter] = [
        Repair("unicode", fixed_unicode),
        Repair("control_characters", without_control_characters),
    ]
    if source is None or source in params.prose_sources:
        rules.append(Repair("prose", lambda text: to_prose(text).text))
    if params.strips_html and (source is None or source not in params.prose_sources):
        rules.append(Repair("html", without_html))
    rules += [
        Repair("whitespace", tidy_whitespace),
        Filter("min_words", lambda text: too_short(text, params)),
        Filter("max_words", lambda text: too_long(text, params)),
        Filter("max_symbol_fraction", lambda text: too_many_symbols(text, params)),
        Filter("max_digit_fraction", lambda text: too_many_digits(text, params)),
        Filter("repeated_lines", lambda text: repeated_lines(text, params.repetition)),
        Filter("repeated_ngrams", lambda text: repeated_ngrams(text, params.repetition)),
    ]
    if params.languages:
        rules.append(Filter("languages", lambda text: foreign(text, params)))
    return rules


def fixed_unicode(text: str) -> str:
    """Repair text decoded in the wrong encoding, and compose letters and marks (NFC)."""
    return text if text.isascii() else ftfy.fix_text(text, _FTFY)


def without_control_characters(text: str) -> str:
    """Remove what is never seen, and end every line with a line feed."""
    return _CONTROL.sub("", _LINE_ENDS.sub("\n", text))


def tidy_whitespace(text: str) -> str:
    """Remove spaces at the ends of lines, and blank lines beyond one."""
    return _BLANK_LINES.sub("\n\n", _TRAILING_SPACE.sub("", text)).strip()


def too_short(text: str, params: CleanParams) -> str | None:
    """Count the words against min_words."""
    words = num_words(text)
    return f"{words} words" if words < params.min_words else None


def too_long(text: str, params: CleanParams) -> str | None:
    """Count the words against max_words."""
    words = num_words(text)
    return f"{words} words" if words > params.max_words else None


def too_many_symbols(text: str, params: CleanParams) -> str | None:
    """Hold punctuation and other symbols against max_symbol_fraction: tables, formulas, code."""
    symbols = _SYMBOL.findall(text)
    if not text.isascii():  # vowel signs of Indic scripts are marks, and part of words
        symbols = [symbol for symbol in symbols if unicodedata.category(symbol)[0] != "M"]
    return _over(len(symbols), text, params.max_symbol_fraction, "symbols")


def too_many_digits(text: str, params: CleanParams) -> str | None:
    """Hold digits against max_digit_fraction: tables, logs, lists of numbers."""
    return _over(len(_DIGIT.findall(text)), text, params.max_digit_fraction, "digits")


def repeated_lines(text: str, limits: Repetition) -> str | None:
    """Hold lines and paragraphs that stood before against Gopher's limits."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [piece.strip() for piece in _PARAGRAPH_ENDS.split(text) if piece.strip()]
    by_line, by_line_characters = duplicate_fractions(lines)
    by_paragraph, by_paragraph_characters = duplicate_fractions(paragraphs)
    for measured, limit, what in (
        (by_line, limits.max_duplicate_line_fraction, "of lines"),
        (
            by_line_characters,
            limits.max_duplicate_line_character_fraction,
            "of characters in lines",
        ),
        (by_paragraph, limits.max_duplicate_paragraph_fraction, "of paragraphs"),
        (
            by_paragraph_characters,
            limits.max_duplicate_paragraph_character_fraction,
            "of characters in paragraphs",
        ),
    ):
        if measured > limit:
            return f"{measured:.2f} {what} stood before"
    return None


def repeated_ngrams(text: str, limits: Repetition) -> str | None:
    """Hold n-grams of words that repeat against Gopher's limits, in texts of 50 words or more."""
    words = words_of(text)
    scale = CHARACTERS_PER_UNSPACED_WORD if is_unspaced(text) else 1
    if len(words) < FEWEST_WORDS_FOR_NGRAMS * scale:
        return None
    for n, limit in enumerate(limits.max_top_ngram_fraction, SHORTEST_TOP_NGRAM):
        measured = top_ngram_fraction(words, n=n * scale)
        if measured > limit:
            return f"{measured:.2f} of characters in the most frequent {n} words"
    for n, limit in enumerate(limits.max_duplicate_ngram_fraction, SHORTEST_DUPLICATE_NGRAM):
        measured = duplicate_ngram_fraction(words, n=n * scale)
        if measured > limit:
            return f"{measured:.2f} of characters in {n} words that stood before"
        if not measured:
            break  # where no 5 words repeat, no 6 do
    return None


def foreign(text: str, params: CleanParams) -> str | None:
    """Hold the language against those wanted."""
    found = other_language(
        text,
        wanted=params.languages,
        short_characters=params.short_characters,
        short_confidence=params.short_confidence,
    )
    return f"language {found[0]}" if found else None


def num_words(text: str) -> int:
    """Count words; a character of a script without spaces is one."""
    return len(text.split()) if text.isascii() else len(words_of(text))


def _over(count: int, text: str, limit: float, what: str) -> str | None:
    measured = count / max(1, sum(map(len, text.split())))
    return f"{measured:.2f} of characters are {what}" if measured > limit else None
