"""Adds tokens to the vocabulary of a WordPiece tokenizer: those that save most on a domain's text.

A checkpoint's tokenizer cuts the words of a domain it was not made for into many pieces. Each new
token stands for a run of such pieces, so that an embedding for it can start from theirs
(models/extension.py). The old tokens keep their ids.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import combinations

from tokenizers import Tokenizer

PREFIX = "##"  # of a WordPiece that continues a word
KEY_CHARACTERS = 4  # by so many, words are found in which a token may stand
# Words that are looked at. Rarer ones save too little each to earn a token, and memory is finite.
MOST_WORDS = 300_000


def word_counts(texts: Iterable[str], tokenizer: Tokenizer) -> Counter[str]:
    """Count the words that `tokenizer` would cut into pieces, normalised as it does."""
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update((normalizer.normalize_str(text) if normalizer else text).split())
    if pre_tokenizer is None:
        return chunks
    counts: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word, _ in pre_tokenizer.pre_tokenize_str(chunk):
            counts[word] += count
    return counts


def pieces_of(
    word: str, vocabulary: Collection[str], *, continues: bool = False
) -> tuple[str, ...] | None:
    """Cut a word as WordPiece does, the longest piece first; None if it is [UNK].

    continues: whether `word` is itself the later part of a word.
    """
    pieces = []
    start = 0
    while start < len(word):
        prefix = PREFIX if start or continues else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in vocabulary:
                break
        else:
            return None
        pieces.append(prefix + word[start:end])
        start = end
    return tuple(pieces)


def pick_tokens(words: Counter[str], vocabulary: Collection[str], *, most: int) -> list[str]:
    """Return up to `most` new tokens, in the order picked: each saves most after those before it.

    words: how often each comes. Ties go by the alphabet, so equal words give equal tokens. What a
    candidate saves is counted over all words, those too that it would cut otherwise by chance.
    Fewer tokens come back where the text gives no more that save anything.
    """
    picked = _missing_characters(vocabulary)[:most]
    known = {*vocabulary, *picked}
    cut = _words_in_pieces(words, known)
    found = _by_characters(cut)
    waiting = [(-saved, token) for token, saved in _candidates(cut, words).items()]
    heapq.heapify(waiting)
    while waiting and len(picked) < most:
        _, token = heapq.heappop(waiting)
        known.add(token)
        changed = {
            word: pieces
            for word in found[_text_of(token)[:KEY_CHARACTERS]]
            if _text_of(token) in word
            and (pieces := pieces_of(word, known)) is not None
            and pieces != cut[word]
        }
        saved = sum(words[w] * (len(cut[w]) - len(p)) for w, p in changed.items())
        # What it saved when it was put here may have shrunk since, by tokens picked in between.
        if saved > 0 and (not waiting or (-saved, token) <= waiting[0]):
            picked.append(token)
            cut.update(changed)
            continue
        known.remove(token)
        if saved > 0:
            heapq.heappush(waiting, (-saved, token))
    return picked


def with_tokens(tokenizer: Tokenizer, tokens: Iterable[str]) -> Tokenizer:
    """Return a tokenizer with `tokens` in its vocabulary proper, their ids after all others."""
    values = json.loads(tokenizer.to_str())
    first = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
    values["model"]["vocab"].update({token: first + n for n, token in enumerate(tokens)})
    return Tokenizer.from_str(json.dumps(values))


def _missing_characters(vocabulary: Collection[str]) -> list[str]:
    """Characters that stand inside tokens, but cannot continue a word alone.

    Where a new token ends, another cut begins: with every such character at hand, no word that had
    pieces can become [UNK].
    """
    inside: set[str] = set()
    for token in vocabulary:
        if token.startswith(PREFIX):
            inside.update(token[len(PREFIX) :])
        elif not (token.startswith("[") and token.endswith("]")):  # [UNK], [unused7]
            inside.update(token[1:])
    return sorted(PREFIX + c for c in inside if PREFIX + c not in vocabulary)


def _text_of(token: str) -> str:
    return token.removeprefix(PREFIX) if len(token) > len(PREFIX) else token


def _words_in_pieces(
    words: Counter[str], vocabulary: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The most frequent words that are cut into two pieces or more, and their pieces."""
    cut = {}
    for word in sorted(words, key=lambda word: (-words[word], word)):
        if word in vocabulary:
            continue
        pieces = pieces_of(word, vocabulary)
        if pieces is not None:
            cut[word] = pieces
        if len(cut) == MOST_WORDS:
            break
    return cut


def _by_characters(words: Iterable[str]) -> dict[str, list[str]]:
    """Words by every run of 2 to KEY_CHARACTERS characters in them."""
    found: dict[str, list[str]] = defaultdict(list)
    for word in words:
        for key in sorted(set(_runs_of_characters(word))):
            found[key].append(word)
    return found


def _runs_of_characters(word: str) -> Iterator[str]:
    for start in range(len(word)):
        for size in range(2, KEY_CHARACTERS + 1):
            yield word[start : start + size]


def _candidates(cut: dict[str, tuple[str, ...]], words: Counter[str]) -> Counter[str]:
    """Every run of neighbouring pieces as one token, with the tokens it would save alone."""
    saved: Counter[str] = Counter()
    for word, pieces in cut.items():
        for start, end in combinations(range(len(pieces) + 1), 2):
            if end - start > 1:
                token = pieces[start] + "".join(map(_text_of, pieces[start + 1 : end]))
                saved[token] += words[word] * (end - start - 1)
    return saved
