"""Which labelled examples are kept: in turns, so that none dominates, and no near-copies apart."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vertiform.corpus.decontaminate import HeldOut

# Runs of so many words make a near-copy between splits: as in decontamination of the text.
NGRAM_WORDS = 13
MIN_COPY_WORDS = 5  # a shorter example may recur by chance

T = TypeVar("T")


@dataclass(frozen=True)
class RowsBySplit:
    """Rows wanted in each split, at most."""

    train: int
    validation: int
    test: int

    def of(self, split: str) -> int:
        """The number of one split."""
        return getattr(self, split)


def order_of(key: str) -> bytes:
    """A sort key that has nothing to do with the meaning of `key`, the same on every machine."""
    return hashlib.blake2b(key.encode(), digest_size=8).digest()


def alternate(queues: Iterable[Sequence[T]]) -> list[T]:
    """The first of each queue, then the second of each, and so on."""
    waiting = list(queues)
    longest = max(map(len, waiting), default=0)
    return [queue[turn] for turn in range(longest) for queue in waiting if turn < len(queue)]


def alternate_by_key(queues: Mapping[str, Sequence[T]]) -> list[T]:
    """As `alternate`, in the order of the keys."""
    return alternate(queue for _, queue in sorted(queues.items()))


def near_copies(texts: Iterable[str], *, of: Iterable[tuple[str, str]]) -> set[int]:
    """The numbers of the texts that share a run of words with one `of` these (id, text)."""
    earlier = HeldOut(of, ngram_words=NGRAM_WORDS, min_example_words=MIN_COPY_WORDS)
    return {shared.text_number for shared in earlier.find(texts)}
