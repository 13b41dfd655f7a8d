"""Which tokens of packed windows belong together, so that no piece of text reads another."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Packing(NamedTuple):
    """The pieces in windows of (B, T) tokens. A piece begins at [CLS], and each window anew.

    position_ids: (B, T) int64, 0 at the first token of each piece.
    segment_ids:  (B, T) int64, number of the piece in its window: 0, 1, ...
    bounds:       (S + 1,) int32, where each of the S pieces starts in the flattened (B * T)
                  tokens, and the end.
    longest:      tokens of the longest piece.
    """

    position_ids: Tensor
    segment_ids: Tensor
    bounds: Tensor
    longest: int


def packing_of(ids: np.ndarray, *, cls_id: int) -> Packing:
    """Return the packing of windows, (B, T) int64, before any of their tokens is replaced."""
    starts = ids == cls_id
    starts[:, 0] = True
    place = np.arange(ids.shape[1])
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)  # of each token's piece
    bounds = np.append(np.flatnonzero(starts), ids.size)
    return Packing(
        position_ids=torch.from_numpy(place - first),
        segment_ids=torch.from_numpy(starts.cumsum(axis=1) - 1),
        bounds=torch.from_numpy(bounds.astype(np.int32)),
        longest=int(np.diff(bounds).max()),
    )
