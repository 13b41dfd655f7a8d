"""Windows of known pieces, and a prepared batch cut into them again."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from tests.builders import NUM_SPECIAL, SPECIAL
from vertiform.batches.packing import packing_of
from vertiform.batches.windows import Windows

V = 500
T = 32
LENGTHS = ([12, 4, 16], [32], [20, 12], [3, 9, 8, 12])  # tokens of the pieces of each window


def windows_of_pieces(*, repeats: int = 1, seed: int = 0) -> Windows:
    """[CLS] piece [SEP] of LENGTHS; the second window is cut at its end and the third at its start,
    as those of a stream are.
    """
    draw = np.random.default_rng(seed)
    ids = draw.integers(NUM_SPECIAL, V, size=(repeats * len(LENGTHS), T))
    for row, lengths in zip(ids, LENGTHS * repeats, strict=True):
        ends = np.cumsum(lengths)
        row[ends - lengths] = SPECIAL.cls
        row[ends - 1] = SPECIAL.sep
    ids[1, -1] = ids[2, 0] = V - 1
    return Windows(ids=ids)


def windows_of_pairs(*, repeats: int = 1, seed: int = 0) -> Windows:
    """[CLS] A [SEP] B [SEP] in the same pieces, half of them true."""
    windows = windows_of_pieces(repeats=repeats, seed=seed)
    is_next = np.full(windows.ids.shape, -1, dtype=np.int8)
    for b, lengths in enumerate(LENGTHS * repeats):
        starts = np.cumsum(lengths) - lengths
        for nth, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            if length >= 8 and windows.ids[b, start] == SPECIAL.cls:
                windows.ids[b, start + 4] = SPECIAL.sep
                is_next[b, start] = (b + nth) % 2
    return windows._replace(is_next=is_next)


def each_alone(batch: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the ids of each piece, (1, n), and what of a batch of (B * T,) places is its own."""
    flat = batch.input_ids.flatten()
    for start, end in pairwise(batch.packing.bounds.tolist()):
        keeps = (batch.positions >= start) & (batch.positions < end)
        ids = flat[start:end][None]
        yield (
            batch._replace(
                input_ids=ids,
                positions=batch.positions[keeps] - start,
                labels=batch.labels[keeps],
                packing=packing_of(np.arange(end - start)[None], cls_id=-1),
            ),
            (start, end, keeps),
        )
