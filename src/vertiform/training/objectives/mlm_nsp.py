"""BERT's two losses at once: hidden tokens, and whether B follows A (Devlin et al. 2019, 3.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from vertiform.batches.vocabulary import Vocabulary
from vertiform.batches.windows import Draws, Windows
from vertiform.errors import ConfigError
from vertiform.models.attention import reading
from vertiform.models.encoder import EncoderParams
from vertiform.models.pretraining import build_bert, load_bert
from vertiform.models.vocabulary_loss import nats_of_labels
from vertiform.training.objectives.losses import Losses
from vertiform.training.objectives.mlm import Corruption, MaskedBatch, MaskedLm


class PairsBatch(NamedTuple):
    """Windows of pairs with tokens hidden.

    token_type_ids: (B, T) int64, 0 in A with its [SEP], 1 in B with its own.
    pairs:   (P,) int64, where in the flattened (B * T) windows the [CLS] of each whole pair is.
             There may be none in a batch of a few short windows.
    follows: (P,) int64, as transformers counts: 0 if B follows A, 1 if it is of another place.
    """

    masked: MaskedBatch
    token_type_ids: Tensor
    pairs: Tensor
    follows: Tensor
    num_tokens: int
    num_slots: int


@dataclass(frozen=True, kw_only=True)
class MaskedLmWithNextSentence:
    """masked: which tokens are hidden, and how."""

    masked: MaskedLm

    reads: ClassVar[str] = "pairs"

    def network(self, model: Any, *, vocabulary: Vocabulary) -> PreTrainedModel:
        """Return an encoder with both heads; its weights are drawn from torch's generator.

        Raises ConfigError for a decoder.
        """
        if not isinstance(model, EncoderParams):
            raise ConfigError(
                "objective=mlm_nsp trains an encoder, and the model is a decoder.",
                fix="say objective=clm, or name a model of conf/model/encoder_*.",
            )
        return build_bert(model, vocab_size=vocabulary.size, pad_id=vocabulary.special_ids.pad)

    def loaded(self, folder: Path, *, dropout: float | None) -> PreTrainedModel:
        """Return the network of a BERT checkpoint to go on from; a head it lacks is new."""
        return load_bert(folder, dropout=dropout)

    def checkpoint_of(self, network: PreTrainedModel) -> PreTrainedModel:
        """Return what is written at the end: all of it."""
        return network

    def preparer(self, vocabulary: Vocabulary) -> "Pairs":
        """Return what turns windows of pairs into batches."""
        return Pairs(corruption=self.masked.preparer(vocabulary), sep_id=vocabulary.special_ids.sep)

    def step_flops(self, network: Any) -> Callable[[PairsBatch], float]:
        """Return what counts the model FLOPs of training on a batch in host memory."""
        of_masked = self.masked.step_flops(network)
        return lambda batch: of_masked(batch.masked)

    def losses(self, network: Any, batch: PairsBatch) -> Losses:
        """Return the sum of both losses: nats per hidden token, and nats per pair."""
        read = reading(batch.masked.packing, network)
        hidden = network.base_model(
            batch.masked.input_ids, token_type_ids=batch.token_type_ids, **read
        ).last_hidden_state.flatten(0, 1)  # (B * T, D)
        selected = hidden.index_select(0, batch.masked.positions)  # (N, D)
        nats = nats_of_labels(network, selected, batch.masked.labels)
        heads = hidden.index_select(0, batch.pairs)  # (P, D)
        follows = heads.sum()  # 0 of no pairs
        if len(batch.pairs):
            pooled = network.bert.pooler(heads[:, None])  # it takes the first token of each
            follows = F.cross_entropy(network.cls.seq_relationship(pooled).float(), batch.follows)
        return Losses(
            nats + follows,
            {
                "nats_per_token": (nats, len(batch.masked.labels)),
                "next_sentence_nats": (follows, len(batch.pairs)),
            },
        )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Hides tokens, and says where pairs are and what is A and what is B."""

    corruption: Corruption
    sep_id: int

    def __call__(self, windows: Windows, draws: Draws, progress: float) -> PairsBatch:
        """Prepare windows of pairs, (B, T) int64."""
        assert windows.is_next is not None, "the stream is not one of pairs"
        masked = self.corruption(windows, draws, progress)
        is_next = torch.from_numpy(windows.is_next).flatten()  # (B * T,) int8
        pairs = (is_next >= 0).nonzero().squeeze(1)
        return PairsBatch(
            masked=masked,
            token_type_ids=self._token_types(windows, masked),
            pairs=pairs,
            follows=1 - is_next[pairs].long(),
            num_tokens=masked.num_tokens,
            num_slots=masked.num_slots,
        )

    def _token_types(self, windows: Windows, masked: MaskedBatch) -> Tensor:
        """1 after the first [SEP] of a piece. What a window's start cut off counts as A."""
        is_sep = torch.from_numpy(windows.ids == self.sep_id).long()
        before = is_sep.cumsum(dim=1) - is_sep  # of each token, in its window
        place = torch.arange(is_sep.shape[1])
        first = place - masked.packing.position_ids  # (B, T): where its piece begins
        return (before > before.gather(1, first)).long()
