"""BERT's two losses at once: hidden tokens, and whether B follows A (Devlin et al. 2019, 3.1)."""

from collections.abc import Callable, Sequence
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
from vertiform.training.objectives.samples import blanks_of, guessed, rounded
from vertiform.training.samples import Sample


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

    def samples(
        self, network: Any, batches: Sequence[PairsBatch], vocabulary: Vocabulary
    ) -> list[Sample]:
        """Return what the network puts into blanks, and whether it thinks that B follows A."""
        found = []
        for batch in batches:
            blanks = blanks_of(batch.masked, vocabulary)
            hidden = self._hidden(network, batch)
            at_blanks = hidden[batch.masked.positions[blanks.places]]
            found.append(guessed(network, at_blanks, blanks, vocabulary))
            if len(batch.pairs):
                found.append(self._judged(network, hidden, batch, vocabulary))
        return found

    def losses(self, network: Any, batch: PairsBatch) -> Losses:
        """Return the sum of both losses: nats per hidden token, and nats per pair."""
        hidden = self._hidden(network, batch)
        selected = hidden.index_select(0, batch.masked.positions)  # (N, D)
        nats = nats_of_labels(network, selected, batch.masked.labels)
        heads = hidden.index_select(0, batch.pairs)  # (P, D)
        follows = heads.sum()  # 0 of no pairs
        if len(batch.pairs):
            follows = F.cross_entropy(_follow_logits(network, heads), batch.follows)
        return Losses(
            nats + follows,
            {
                "nats_per_token": (nats, len(batch.masked.labels)),
                "next_sentence_nats": (follows, len(batch.pairs)),
            },
        )

    def _hidden(self, network: Any, batch: PairsBatch) -> Tensor:
        """Last hidden states, (B * T, D)."""
        read = reading(batch.masked.packing, network)
        return network.base_model(
            batch.masked.input_ids, token_type_ids=batch.token_type_ids, **read
        ).last_hidden_state.flatten(0, 1)

    def _judged(
        self, network: Any, hidden: Tensor, batch: PairsBatch, vocabulary: Vocabulary
    ) -> Sample:
        """Whether B follows A, of the first pair of a window that is whole in it."""
        first = int(batch.pairs[0])
        chance = _follow_logits(network, hidden[first : first + 1]).softmax(dim=1)[0, 0]
        bounds = batch.masked.packing.bounds.tolist()
        end = next(bound for bound in bounds if bound > first)
        return Sample(
            text=vocabulary.text_of(batch.masked.input_ids.flatten()[first:end].tolist()),
            rows=[
                {
                    "truth": "B follows A" if batch.follows[0] == 0 else "B is of another place",
                    "probability that B follows A": rounded(chance),
                }
            ],
        )


def _follow_logits(network: Any, heads: Tensor) -> Tensor:
    """(P, D) hidden states of the [CLS] of pairs -> (P, 2): B follows A, or does not."""
    pooled = network.bert.pooler(heads[:, None])  # it takes the first token of each
    return network.cls.seq_relationship(pooled).float()


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
