"""The same test texts as people also write them: with typos, in capitals, cut short.

Every perturbation is of a labelled row, and of entities it keeps one tag for each token. It is
drawn from the seed and the row's id alone, so that the same row is perturbed the same everywhere.
"""

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vertiform.corpus.words import is_unspaced
from vertiform.evaluation.bootstrap import Resampling, differences, draw
from vertiform.evaluation.evidence import Drop
from vertiform.evaluation.predictions import Prediction, Row, measure_of

# Neighbours on a QWERTY keyboard, in the row of a key and the rows above and below it.
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"\S+")
_MIN_TYPO_LETTERS = 3  # of a word that may get a typo: `a` with one would be another word


@dataclass(frozen=True, kw_only=True)
class Severity:
    """How strongly texts are perturbed, and from which seed."""

    typo_word_fraction: float  # 0-1, of the words that have letters of the keyboard
    kept_fraction: float  # 0-1, of the words, where a text is cut short
    seed: int


def with_typos(row: Row, severity: Severity) -> Row:
    """Replace a letter by its neighbour on the keyboard, in a fraction of the words, one each."""
    rng = random.Random(_number(f"{severity.seed}/{row['id']}"))

    def typed(word: str) -> str:
        if rng.random() >= severity.typo_word_fraction or len(word) < _MIN_TYPO_LETTERS:
            return word
        places = [place for place, letter in enumerate(word) if letter.lower() in _NEIGHBOURS]
        if not places:
            return word
        place = rng.choice(places)
        letter = rng.choice(_NEIGHBOURS[word[place].lower()])
        letter = letter.upper() if word[place].isupper() else letter
        return f"{word[:place]}{letter}{word[place + 1 :]}"

    return _by_word(row, typed)


def in_capitals(row: Row, severity: Severity) -> Row:
    """Write it all in capitals."""
    return _by_word(row, str.upper)


def in_lower_case(row: Row, severity: Severity) -> Row:
    """Write it all in lower case."""
    return _by_word(row, str.lower)


def cut_short(row: Row, severity: Severity) -> Row:
    """Keep the first words of it, at least one, and of entities their tags.

    A script without spaces is cut by characters.
    """
    if "tokens" in row:
        kept = _num_kept(len(row["tokens"]), severity)
        return {**row, "tokens": row["tokens"][:kept], "tags": row["tags"][:kept]}
    text = row["text"]
    ends = range(1, len(text) + 1) if is_unspaced(text) else [m.end() for m in _WORD.finditer(text)]
    return {**row, "text": text[: ends[_num_kept(len(ends), severity) - 1]]}


Perturb = Callable[[Row, Severity], Row]
PERTURBATIONS: dict[str, Perturb] = {
    "typos": with_typos,
    "capitals": in_capitals,
    "lower_case": in_lower_case,
    "truncation": cut_short,
}


def chosen_rows(rows: Sequence[Row], *, max_rows: int, seed: int) -> list[Row]:
    """Choose rows by the hash of their id: the same ones whatever their order. They keep theirs."""
    order = sorted(rows, key=lambda row: (_number(f"{seed}/{row['id']}"), row["id"]))
    chosen = {row["id"] for row in order[:max_rows]}
    return [row for row in rows if row["id"] in chosen]


def num_changed(rows: Sequence[Row], perturbed: Sequence[Row]) -> int:
    """Count the rows whose text is not what it was."""
    return sum(_text(a) != _text(b) for a, b in zip(rows, perturbed, strict=True))


def drop_of(
    kind: str,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    *,
    perturbed: Sequence[Row],
    perturbed_predictions: Sequence[Prediction],
    labels: Sequence[str],
    score: str,
    resampling: Resampling,
) -> Drop:
    """Return by how much `score` (a bare name) rose on the perturbed rows, paired row by row."""
    clean = draw(
        measure_of(kind, rows, predictions, labels=labels), rows=len(rows), resampling=resampling
    )
    after = draw(
        measure_of(kind, perturbed, perturbed_predictions, labels=labels),
        rows=len(rows),
        resampling=resampling,
    )
    difference = differences(after, clean).get(score)
    return Drop(len(rows), num_changed(rows, perturbed), difference)


def _by_word(row: Row, change: Callable[[str], str]) -> Row:
    """Change each word alone: the tokens stay as many, and the spaces where they were."""
    if "tokens" in row:
        return {**row, "tokens": [change(token) for token in row["tokens"]]}
    return {**row, "text": _WORD.sub(lambda match: change(match[0]), row["text"])}


def _num_kept(number: int, severity: Severity) -> int:
    return max(1, int(number * severity.kept_fraction))


def _text(row: Row) -> Any:
    return row["text"] if "text" in row else row["tokens"]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _neighbours() -> dict[str, str]:
    found: dict[str, set[str]] = {letter: set() for keys in _KEYS for letter in keys}
    for number, keys in enumerate(_KEYS):
        for place, letter in enumerate(keys):
            for row in (number - 1, number, number + 1):
                if 0 <= row < len(_KEYS):
                    found[letter] |= set(_KEYS[row][max(0, place - 1) : place + 2])
    return {letter: "".join(sorted(keys - {letter})) for letter, keys in found.items()}


_NEIGHBOURS = _neighbours()
