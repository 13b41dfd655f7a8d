"""What the tokens of a vocabulary are: special, beginnings of words, ends of sentences."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from vertiform.corpus.manifest import Manifest, SpecialIds

SPACE_MARKS = ("\u0120", "\u2581")  # how byte-level BPE and SentencePiece write a leading space
SENTENCE_ENDS = ".?!\u3002\uff1f\uff01"  # and the full-width ones of Chinese and Japanese
CLOSINGS = "\"')]}\u201d\u2019"  # may follow the end of a sentence within one token


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """The V tokens of a tokenizer. All arrays are (V,) bool.

    is_special:    one of special_ids, never part of a text but for [UNK].
    starts_word:   not the continuation of the word before it: in WordPiece without `##`; else with
                   the mark of a space, or punctuation.
    is_punctuation: ends without letter or digit, so that the token after it starts a word too; not
                   a lone space, which belongs to what follows.
    ends_sentence: `.`, `?`, `!` and their like.
    """

    size: int
    special_ids: SpecialIds
    is_special: np.ndarray
    starts_word: np.ndarray
    is_punctuation: np.ndarray
    ends_sentence: np.ndarray
    tokenizer: Tokenizer

    def word_starts(self, ids: np.ndarray) -> np.ndarray:
        """Return where a word starts in windows, (B, T) int64 -> (B, T) bool.

        A special token is a word of its own, and the rest of a word that the window's start cuts
        off is one.
        """
        is_alone = self.is_special[ids] | self.is_punctuation[ids]
        starts = self.starts_word[ids] | self.is_special[ids]
        starts[:, 0] = True
        starts[:, 1:] |= is_alone[:, :-1]
        return starts

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones among it, without the space around it."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False).strip()

    def encode(self, terms: Sequence[str]) -> list[set[tuple[int, ...]]]:
        """Return the ids of each term, as it stands within a text and as it opens one."""
        forms = [*terms, *(f" {term}" for term in terms)]
        encoded = self.tokenizer.encode_batch(forms, add_special_tokens=False)
        ids = [tuple(each.ids) for each in encoded]
        opening, within = ids[: len(terms)], ids[len(terms) :]
        return [set(both) for both in zip(opening, within, strict=True)]


def read_vocabulary(tokens: Path, manifest: Manifest) -> Vocabulary:
    """Read the vocabulary of a tokens folder from its tokenizer.json."""
    return vocabulary_of(
        Tokenizer.from_file(str(tokens / "tokenizer.json")),
        size=manifest.vocab_size,
        special_ids=manifest.special_ids,
    )


def vocabulary_of(tokenizer: Tokenizer, *, size: int, special_ids: SpecialIds) -> Vocabulary:
    """Return the vocabulary of ids 0 to `size` of a tokenizer."""
    texts, starts_word = _tokens_of(tokenizer, size)
    is_special = np.zeros(size, dtype=bool)
    is_special[list(asdict(special_ids).values())] = True
    return Vocabulary(
        size=size,
        special_ids=special_ids,
        is_special=is_special,
        starts_word=starts_word,
        is_punctuation=np.array([_is_mark(text[-1:]) and text[-1:] != " " for text in texts]),
        ends_sentence=~is_special & np.array([_ends_sentence(text) for text in texts]),
        tokenizer=tokenizer,
    )


def _tokens_of(tokenizer: Tokenizer, size: int) -> tuple[list[str], np.ndarray]:
    """The text of each token without the marks of its kind, and whether it starts a word."""
    tokens = [tokenizer.id_to_token(number) or "" for number in range(size)]
    if isinstance(tokenizer.model, models.WordPiece):
        prefix = tokenizer.model.continuing_subword_prefix
        starts_word = np.array([not token.startswith(prefix) for token in tokens])
        return [token.removeprefix(prefix) for token in tokens], starts_word
    texts = [_from_bytes(token) for token in tokens]
    starts = [
        token.startswith(SPACE_MARKS) or _is_mark(text[:1])
        for token, text in zip(tokens, texts, strict=True)
    ]
    return texts, np.array(starts)


def _from_bytes(token: str) -> str:
    """What a token of byte-level BPE says; another one's as it is, but for the mark of a space."""
    try:
        return bytes(_BYTES[character] for character in token).decode("utf-8", errors="replace")
    except KeyError:
        return token.replace(SPACE_MARKS[1], " ")


def _bytes_of_characters() -> dict[str, int]:
    """GPT-2's writing of the 256 bytes: the printable ones as themselves, the rest from U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    written = {chr(byte): byte for byte in printable}
    return written | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _bytes_of_characters()
_PART_OF_A_CHARACTER = "\ufffd"  # of bytes that are not UTF-8 by themselves


def _is_mark(character: str) -> bool:
    return bool(character) and not character.isalnum() and character != _PART_OF_A_CHARACTER


def _ends_sentence(text: str) -> bool:
    return text.rstrip(CLOSINGS + " ").endswith(tuple(SENTENCE_ENDS))
