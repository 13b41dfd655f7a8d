"""Masked language modelling (Devlin et al. 2019, section 3.1)."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from vertiform.batches.packing import Packing, packing_of
from vertiform.batches.vocabulary import Vocabulary
from vertiform.batches.windows import Draws, Windows
from vertiform.errors import ConfigError, TrainingError


class MaskedBatch(NamedTuple):
    """Windows with tokens hidden, and which.

    input_ids: (B, T) int64, after corruption.
    positions: (N,) int64, the selected places of the flattened (B * T) windows, ascending.
    labels:    (N,) int64, the tokens that stood there.
    num_tokens: B * T, and num_slots the same: nothing is padded.
    """

    input_ids: Tensor
    positions: Tensor
    labels: Tensor
    packing: Packing
    num_tokens: int
    num_slots: int


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

    def preparer(self, vocabulary: Vocabulary) -> "Corruption":
        """Return what turns windows of this vocabulary into batches."""
        return Corruption(rule=self, vocabulary=vocabulary)

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
    """BERT's 80/10/10 rule over one vocabulary."""

    rule: MaskedLm
    vocabulary: Vocabulary

    def __call__(self, windows: Windows, draws: Draws, progress: float) -> MaskedBatch:
        """Corrupt windows, (B, T) int64."""
        packing = packing_of(windows.ids, cls_id=self.vocabulary.special_ids.cls)
        ids = windows.ids.reshape(-1).copy()  # (B * T,)
        select, action, replacement = draws.uniform(3).reshape(3, -1)  # (B * T,) each
        is_ordinary = ~self.vocabulary.is_special[ids]
        is_selected = (select < self.rule.select_fraction) & is_ordinary
        if not is_selected.any():
            # A mean over nothing is no number. Only a batch of a few tokens can come here.
            is_selected[np.argmax(is_ordinary)] = True
        positions = np.flatnonzero(is_selected)  # (N,)
        labels, action = ids[positions], action[positions]
        place = (replacement[positions] * len(self._ordinary_ids)).astype(np.int64)
        is_random = action < self.rule.mask_fraction + self.rule.random_fraction
        replaced = np.where(is_random, self._ordinary_ids[place], labels)
        is_masked = action < self.rule.mask_fraction
        ids[positions] = np.where(is_masked, self.vocabulary.special_ids.mask, replaced)
        return MaskedBatch(
            input_ids=torch.from_numpy(ids.reshape(windows.ids.shape)),
            positions=torch.from_numpy(positions),
            labels=torch.from_numpy(labels),
            packing=packing,
            num_tokens=ids.size,
            num_slots=ids.size,
        )

    @cached_property
    def _ordinary_ids(self) -> np.ndarray:
        return np.flatnonzero(~self.vocabulary.is_special)


def _head_of(network: PreTrainedModel) -> torch.nn.Module:
    for name in ("cls", "lm_head"):  # BERT and its kind; RoBERTa and its kind
        head = getattr(network, name, None)
        if head is not None:
            return head
    raise TrainingError(
        f"{type(network).__name__} has no vocabulary head that objective mlm knows.",
        fix="start from a BERT or RoBERTa checkpoint, or from scratch.",
    )
