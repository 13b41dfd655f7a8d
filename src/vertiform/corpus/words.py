"""Words, in scripts with and without spaces between them."""

import re

# Scripts written without spaces: a character counts as a word. Han with its extensions, kana,
# Thai, Lao, Myanmar, Khmer.
UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
# As _TOKEN, but with dotted names whole and each punctuation mark a word.
_WORD_OR_MARK = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:\.[^\W{UNSPACED}]+)*|[^\w\s]")
_UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")


def words_of(text: str) -> list[str]:
    """Return the words in lower case, without punctuation; unspaced scripts by character."""
    return _TOKEN.findall(text.lower())


def split_words(text: str) -> list[tuple[str, int, int]]:
    """Split a text into what entities are labelled in: (word, start, end), in characters.

    Words, dotted names such as `os.path`, punctuation marks; unspaced scripts by character. Only
    white space is left out.
    """
    return [(match[0], match.start(), match.end()) for match in _WORD_OR_MARK.finditer(text)]


def is_unspaced(text: str) -> bool:
    """Is most of the text in a script without spaces?"""
    return not text.isascii() and 2 * len(_UNSPACED_CHARACTER.findall(text)) > len(text)
