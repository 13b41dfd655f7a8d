"""How much of a text repeats itself: the measures of Gopher (Rae et al. 2021, table A1)."""

from collections import Counter
from collections.abc import Sequence

SHORTEST_TOP_NGRAM = 2  # words; table A1 gives limits for 2, 3 and 4
SHORTEST_DUPLICATE_NGRAM = 5  # words; table A1 gives limits for 5 to 10


def duplicate_fractions(pieces: Sequence[str]) -> tuple[float, float]:
    """Return which fraction of the lines (or paragraphs) stood before, by count and characters."""
    characters = sum(map(len, pieces))
    if not characters:
        return 0.0, 0.0
    once = set(pieces)
    if len(once) == len(pieces):
        return 0.0, 0.0
    repeated = (characters - sum(map(len, once))) / characters
    return (len(pieces) - len(once)) / len(pieces), repeated


def top_ngram_fraction(words: Sequence[str], *, n: int) -> float:
    """Return the fraction of characters that the most frequent n-gram covers; 0 if none repeats.

    Of n-grams equally frequent the longest counts.
    """
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    if not counts:
        return 0.0
    most = max(counts.values())
    if most < 2:
        return 0.0
    longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
    return min(1.0, longest * most / sum(map(len, words)))


def duplicate_ngram_fraction(words: Sequence[str], *, n: int) -> float:
    """Return the fraction of the characters within n-grams that stood before, each counted once."""
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    if len(set(grams)) == len(grams):
        return 0.0
    seen = set()
    characters = covered_to = 0
    for start, gram in enumerate(grams):
        if gram in seen:
            new_from = max(start, covered_to)
            covered_to = start + n
            characters += sum(map(len, words[new_from:covered_to]))
        else:
            seen.add(gram)
    return characters / sum(map(len, words))
