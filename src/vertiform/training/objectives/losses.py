"""What an objective makes of a batch."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Losses(NamedTuple):
    """The loss of one batch.

    total: a scalar in nats, with its graph: what is descended.
    parts: what it is made of, by the last word of its metric's name ("nats_per_token" is logged as
           train/nats_per_token): the mean in nats, and how many it is the mean over.
    """

    total: Tensor
    parts: Mapping[str, tuple[Tensor, int]]
