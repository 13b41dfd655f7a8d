"""Windows of pairs of texts, for an objective that tells whether B follows A.

The stream of one epoch is [CLS] A [SEP] B [SEP] [CLS] A [SEP] B [SEP] ... over every piece of the
split, cut in two near its middle. In half of the pairs B is what follows A; the B of the others are
exchanged among them, so that each comes from another document, and every token still comes once an
epoch. As in batches.packed, epochs follow each other without a gap, window w is the tokens w * T to
(w + 1) * T, and any window can be read without those before it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vertiform.batches.randomness import Purpose, generator
from vertiform.batches.vocabulary import Vocabulary
from vertiform.batches.windows import Windows
from vertiform.corpus.manifest import Manifest
from vertiform.errors import CorpusError

FIXED_SEED = 0  # of the pairs of a stream in fixed order
_TOKENS_AT_A_TIME = 2**24  # read to find the ends of sentences
_LONGEST_WORD = 8  # tokens that a cut may move, to spare a word


@dataclass(frozen=True, kw_only=True, eq=False)
class PairStream:
    """The endless stream of pairs of one split of a tokens folder.

    tokens, offsets, dtype, cls_id, sep_id, seed: as in batches.packed.PackedStream.
    max_piece_tokens: A and B together; a longer document is cut into equal pieces of at most this.
    ends_sentence, starts_word: (V,) bool (batches.vocabulary).

    A document of one token has no two halves; it comes as [CLS] token [SEP] and is no pair.
    Raises CorpusError where half of the pairs cannot have a B from another document.
    """

    tokens: Path
    offsets: Path
    dtype: str
    cls_id: int
    sep_id: int
    max_piece_tokens: int
    ends_sentence: np.ndarray
    starts_word: np.ndarray
    seed: int | None

    def __post_init__(self) -> None:
        assert self.max_piece_tokens >= 3, "pieces of 2 leave some of 1, which cannot be halved"
        self._plan_of(0)  # so that text which makes no pairs is refused at once

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens in one pass, special tokens counted."""
        return int(self._plan_of(0).bounds[-1])

    def windows(self, first: int, count: int, *, window_tokens: int) -> Windows:
        """Return windows `first` to `first + count` of the stream."""
        start, size = first * window_tokens, count * window_tokens
        ids, is_next = np.empty(size, dtype=np.int64), np.full(size, -1, dtype=np.int8)
        pairs: list[_Pair] = []
        filled = 0
        while filled < size:
            epoch, within = divmod(start + filled, self.tokens_per_epoch)
            stop = min(filled + self.tokens_per_epoch - within, size)
            pairs += self._read_within_epoch(epoch, within, ids[filled:stop], before=filled)
            filled = stop
        for pair in pairs:
            if pair.start // window_tokens == (pair.end - 1) // window_tokens:
                is_next[pair.start] = pair.is_true
        return Windows(
            ids=ids.reshape(count, window_tokens), is_next=is_next.reshape(count, window_tokens)
        )

    def _read_within_epoch(
        self, epoch: int, start: int, into: np.ndarray, *, before: int
    ) -> "list[_Pair]":
        """Fill `into`, and return the pairs that begin in it, counted from `before` it on."""
        plan, pieces = self._plan_of(epoch), self._pieces
        found = []
        place = int(np.searchsorted(plan.bounds, start, side="right")) - 1  # of what holds `start`
        filled = 0
        while filled < len(into):
            a, b = plan.first[place], plan.second[place]
            size = int(plan.bounds[place + 1] - plan.bounds[place])
            framed = np.full(size, self.sep_id, dtype=np.int64)
            framed[0] = self.cls_id
            middle = 1 + pieces.cuts[a] - pieces.starts[a]
            framed[1:middle] = self._mapped[pieces.starts[a] : pieces.cuts[a]]
            is_pair = pieces.cuts[b] < pieces.ends[b]
            if is_pair:
                framed[middle + 1 : -1] = self._mapped[pieces.cuts[b] : pieces.ends[b]]
            skipped = max(0, start - int(plan.bounds[place]))
            if is_pair and skipped == 0:
                found.append(_Pair(before + filled, before + filled + size, bool(a == b)))
            part = framed[skipped : skipped + len(into) - filled]
            into[filled : filled + len(part)] = part
            filled += len(part)
            place += 1
        return found

    def _plan_of(self, epoch: int) -> "_Plan":
        if self._last_plan.get("epoch") != epoch:
            self._last_plan.update(epoch=epoch, plan=self._planned(epoch))
        return self._last_plan["plan"]

    def _planned(self, epoch: int) -> "_Plan":
        pieces = self._pieces
        number = len(pieces.starts)
        if self.seed is None:
            order, draw = np.arange(number), generator(FIXED_SEED, Purpose.PAIRS, 0)
        else:
            order = generator(self.seed, Purpose.ORDER, epoch).permutation(number)
            draw = generator(self.seed, Purpose.PAIRS, epoch)
        halved = np.flatnonzero(pieces.cuts < pieces.ends)
        false = _of_several_documents(draw.permutation(halved), pieces.documents, self.tokens)
        second_of = np.arange(number)
        second_of[false] = _exchanged(false, pieces.documents, draw)
        first, second = order, second_of[order]
        a, b = (pieces.cuts - pieces.starts)[first], (pieces.ends - pieces.cuts)[second]
        lengths = 2 + a + np.where(b > 0, b + 1, 0)
        return _Plan(first, second, np.concatenate(([0], np.cumsum(lengths))))

    @cached_property
    def _last_plan(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _mapped(self) -> np.ndarray:
        return np.memmap(self.tokens, dtype=np.dtype(self.dtype).newbyteorder("<"), mode="r")

    @cached_property
    def _pieces(self) -> "_Pieces":
        offsets = np.fromfile(self.offsets, dtype="<i8")
        lengths = np.diff(offsets)
        counts = -(-lengths // self.max_piece_tokens)  # pieces of each document, rounded up
        documents = np.repeat(np.arange(len(lengths)), counts)
        nth = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = offsets[documents] + nth * lengths[documents] // counts[documents]
        ends = offsets[documents] + (nth + 1) * lengths[documents] // counts[documents]
        return _Pieces(starts, self._cuts(starts, ends), ends, documents)

    def _cuts(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Where B starts in each piece: after the sentence that ends nearest to the middle if it
        does within the middle half, else in the middle, but not within a word.
        """
        if not len(starts):
            return starts
        middles, quarter = (starts + ends + 1) // 2, (ends - starts) // 4
        cuts = middles.copy()
        for _ in range(_LONGEST_WORD):
            inside = np.minimum(cuts, len(self._mapped) - 1)
            cuts += (cuts < ends - 1 - quarter) & ~self.starts_word[self._mapped[inside]]
        after = self._after_sentences()
        if len(after):
            place = np.searchsorted(after, middles)
            left, right = after[np.maximum(place - 1, 0)], after[np.minimum(place, len(after) - 1)]
            nearest = np.where(abs(middles - left) <= abs(right - middles), left, right)
            is_near = (nearest > starts + quarter) & (nearest < ends - quarter)
            cuts = np.where(is_near, nearest, cuts)
        return cuts

    def _after_sentences(self) -> np.ndarray:
        """The token after the end of each sentence of the split, ascending."""
        found = [
            start + 1 + np.flatnonzero(self.ends_sentence[self._mapped[start:][:_TOKENS_AT_A_TIME]])
            for start in range(0, len(self._mapped), _TOKENS_AT_A_TIME)
        ]
        return np.concatenate(found)

    def __getstate__(self) -> dict[str, Any]:
        # Without the open map: a loader process opens its own.
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def open_pairs(
    folder: Path,
    manifest: Manifest,
    vocabulary: Vocabulary,
    *,
    split: str,
    window_tokens: int,
    seed: int | None,
) -> PairStream:
    """Open one split of a tokens folder.

    A pair takes half a window at most as long as its halves are alike: one that the end of a window
    cuts teaches nothing about what follows what, and the longer pairs are, the more are cut.
    """
    tokens = folder / f"{split}.bin"
    return PairStream(
        tokens=tokens,
        offsets=folder / f"{split}.offsets.bin",
        dtype=manifest.dtype,
        cls_id=manifest.special_ids.cls,
        sep_id=manifest.special_ids.sep,
        max_piece_tokens=max(3, window_tokens // 2 - 3),
        ends_sentence=vocabulary.ends_sentence,
        starts_word=vocabulary.starts_word,
        seed=seed,
    )


class _Pieces(NamedTuple):
    """First token, first of the second half, and end of each piece, and the document it is of."""

    starts: np.ndarray
    cuts: np.ndarray
    ends: np.ndarray
    documents: np.ndarray


class _Pair(NamedTuple):
    """A pair among tokens that were read: its [CLS], its end, and whether B follows A."""

    start: int
    end: int
    is_true: bool


class _Plan(NamedTuple):
    """The pairs of an epoch: the piece that A is of, that B is of, and where each pair starts."""

    first: np.ndarray
    second: np.ndarray
    bounds: np.ndarray


def _of_several_documents(shuffled: np.ndarray, documents: np.ndarray, tokens: Path) -> np.ndarray:
    """Half of the shuffled pieces, no more than half of that from any document."""
    number = len(shuffled) // 2
    taken = shuffled[:number]
    largest = np.bincount(documents[taken], minlength=1).argmax()
    if (documents[taken] == largest).sum() > number // 2:
        others = shuffled[documents[shuffled] != largest][: number - number // 2]
        its = shuffled[documents[shuffled] == largest][: number - len(others)]
        taken = np.concatenate((its, others))
    if number < 2 or (documents[taken] == largest).sum() > number // 2:
        raise CorpusError(
            f"{tokens} has too few documents for pairs: in half of them B must come from another "
            "document than A.",
            fix="give the domain more documents, or choose an objective without pairs, such as "
            "objective=mlm.",
        )
    return taken


def _exchanged(pieces: np.ndarray, documents: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """For each piece another one of them, each once, never one of the same document.

    In an order in which the pieces of a document stand together, a step round the circle that is
    longer than any document, either way, ends in another document.
    """
    key = draw.permutation(documents.max() + 1)[documents[pieces]]  # documents in a random order
    circle = np.lexsort((draw.permutation(len(pieces)), key))
    longest = np.bincount(key).max()
    step = draw.integers(longest, len(pieces) - longest, endpoint=True)
    found = np.empty_like(pieces)
    found[circle] = pieces[np.roll(circle, -step)]
    return found
