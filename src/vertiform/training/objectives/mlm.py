"""Masked language modelling (Devlin et al. 2019, section 3.1)."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from vertiform.corpus.manifest import SpecialIds
from vertiform.errors import ConfigError, TrainingError


class MaskedBatch(NamedTuple):
    """Windows with tokens hidden, and which.

    input_ids: (B, T) int64, after corruption.
    positions: (N,) int64, the selected places of the flattened (B * T) windows, ascending.
    labels:    (N,) int64, the tokens that stood there.
    """

    input_ids: Tensor
    positions: Tensor
    labels: Tensor
    num_tokens: int


@dataclass(frozen=True, kw_only=True)
class MaskedLm:
    """Select some tokens, hide most of them, and predict what stood there.

    select_fraction: of the tokens that are not special.
    mask_fraction:   of the selected, replaced by [MASK]; random_fraction of them by a random token;
                     the rest stay, so that the encoder cannot trust what it sees.
    """

    select_fraction: float
    mask_fraction: float
    random_fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.select_fraction < 1:
            raise ConfigError(
                f"objective.select_fraction is {self.select_fraction}, not between 0 and 1.",
                fix="0.15 is BERT's; 0.3 pays for larger models.",
            )
        if min(self.mask_fraction, self.random_fraction) < 0 or (
            self.mask_fraction + self.random_fraction > 1
        ):
            raise ConfigError(
                "objective.mask_fraction and objective.random_fraction do not fit within 1.",
                fix="BERT's are 0.8 and 0.1.",
            )

    def preparer(self, *, vocab_size: int, special_ids: SpecialIds) -> "Corruption":
        """Return what turns windows of this vocabulary into batches."""
        is_special = np.zeros(vocab_size, dtype=bool)
        is_special[list(asdict(special_ids).values())] = True
        return Corruption(rule=self, is_special=is_special, mask_id=special_ids.mask)

    def loss(self, network: PreTrainedModel, batch: MaskedBatch) -> Tensor:
        """Return the mean nats per selected token, a scalar.

        The vocabulary head runs over the selected positions only: over all of them it would cost
        more than a small encoder itself.
        """
        hidden = network.base_model(batch.input_ids).last_hidden_state  # (B, T, D)
        selected = hidden.flatten(0, 1).index_select(0, batch.positions)  # (N, D)
        return F.cross_entropy(_head_of(network)(selected).float(), batch.labels)  # (N, V) -> ()

    def num_predicted(self, batch: MaskedBatch) -> int:
        """How many tokens `loss` is the mean over."""
        return len(batch.labels)


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """BERT's 80/10/10 rule over one vocabulary. is_special: (V,) bool, never selected."""

    rule: MaskedLm
    is_special: np.ndarray
    mask_id: int

    def __call__(self, windows: np.ndarray, generator: np.random.Generator) -> MaskedBatch:
        """Corrupt windows, (B, T) int64."""
        ids = windows.reshape(-1).copy()  # (B * T,)
        is_ordinary = ~self.is_special[ids]
        is_selected = (generator.random(len(ids)) < self.rule.select_fraction) & is_ordinary
        if not is_selected.any():
            # A mean over nothing is no number. Only a batch of a few tokens can come here.
            is_selected[np.argmax(is_ordinary)] = True
        positions = np.flatnonzero(is_selected)  # (N,)
        labels = ids[positions]
        draw = generator.random(len(positions))
        random_ids = self._ordinary_ids[generator.integers(len(self._ordinary_ids), size=len(draw))]
        is_random = draw < self.rule.mask_fraction + self.rule.random_fraction
        replaced = np.where(is_random, random_ids, labels)
        ids[positions] = np.where(draw < self.rule.mask_fraction, self.mask_id, replaced)
        return MaskedBatch(
            input_ids=torch.from_numpy(ids.reshape(windows.shape)),
            positions=torch.from_numpy(positions),
            labels=torch.from_numpy(labels),
            num_tokens=ids.size,
        )

    @property
    def _ordinary_ids(self) -> np.ndarray:
        return np.flatnonzero(~self.is_special)


def _head_of(network: PreTrainedModel) -> torch.nn.Module:
    for name in ("cls", "lm_head"):  # BERT and its kind; RoBERTa and its kind
        head = getattr(network, name, None)
        if head is not None:
            return head
    raise TrainingError(
        f"{type(network).__name__} has no vocabulary head that objective mlm knows.",
        fix="start from a BERT or RoBERTa checkpoint, or from scratch.",
    )
