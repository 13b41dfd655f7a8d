"""Causal language modelling: the next token of the same text (Radford et al. 2019)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from vertiform.batches.packing import Packing, packing_of
from vertiform.batches.vocabulary import Vocabulary
from vertiform.batches.windows import Draws, Windows
from vertiform.errors import ConfigError
from vertiform.models.attention import reading
from vertiform.models.decoder import DecoderParams, build_decoder, load_decoder
from vertiform.models.vocabulary_loss import nats_of_labels
from vertiform.training.flops import flops_of, of_windows
from vertiform.training.objectives.losses import Losses
from vertiform.training.objectives.samples import continued
from vertiform.training.samples import Sample


class NextTokenBatch(NamedTuple):
    """Windows, and which of their tokens has a next one.

    input_ids: (B, T) int64.
    positions: (N,) int64, the places in the flattened (B * T) windows of all tokens but the last of
               each piece, ascending.
    labels:    (N,) int64, the token that follows each.
    num_tokens: B * T, and num_slots the same: nothing is padded.
    """

    input_ids: Tensor
    positions: Tensor
    labels: Tensor
    packing: Packing
    num_tokens: int
    num_slots: int


@dataclass(frozen=True, kw_only=True)
class CausalLm:
    """Predict each next token from those before it in the same piece, and from nothing else."""

    reads: ClassVar[str] = "documents"

    def network(self, model: Any, *, vocabulary: Vocabulary) -> PreTrainedModel:
        """Return a decoder with its tied head; its weights are drawn from torch's generator.

        Raises ConfigError for an encoder, in which a token sees those after it.
        """
        if not isinstance(model, DecoderParams):
            raise ConfigError(
                "objective=clm trains a decoder, and the model is an encoder.",
                fix="say objective=mlm, or name a model of conf/model/decoder_*.",
            )
        return build_decoder(model, vocab_size=vocabulary.size, special_ids=vocabulary.special_ids)

    def loaded(self, folder: Path, *, dropout: float | None) -> PreTrainedModel:
        """Return the network of a checkpoint folder to go on from (models.decoder)."""
        return load_decoder(folder, dropout=dropout)

    def checkpoint_of(self, network: PreTrainedModel) -> PreTrainedModel:
        """Return what is written at the end: all of it."""
        return network

    def preparer(self, vocabulary: Vocabulary) -> "NextTokens":
        """Return what turns windows of this vocabulary into batches."""
        return NextTokens(cls_id=vocabulary.special_ids.cls)

    def step_flops(self, network: Any) -> Callable[[NextTokenBatch], float]:
        """Return what counts the model FLOPs of training on a batch in host memory."""
        model = flops_of(network)
        return lambda batch: of_windows(model, batch.packing, predicted=len(batch.labels))

    def samples(
        self, network: PreTrainedModel, batches: Sequence[NextTokenBatch], vocabulary: Vocabulary
    ) -> list[Sample]:
        """Return how the network goes on with the beginning of a piece of each window."""
        return continued(network, batches, vocabulary)

    def losses(self, network: PreTrainedModel, batch: NextTokenBatch) -> Losses:
        """Return the mean nats per token that has one before it in its piece."""
        read = reading(batch.packing, network, causal=True)
        hidden = network.base_model(batch.input_ids, **read).last_hidden_state  # (B, T, D)
        predicting = hidden.flatten(0, 1).index_select(0, batch.positions)  # (N, D)
        nats = nats_of_labels(network, predicting, batch.labels)
        return Losses(nats, {"nats_per_token": (nats, len(batch.labels))})


@dataclass(frozen=True, kw_only=True)
class NextTokens:
    """Pairs each token with the next of its piece. Nothing is drawn."""

    cls_id: int

    def __call__(self, windows: Windows, draws: Draws, progress: float) -> NextTokenBatch:
        """Prepare windows, (B, T) int64."""
        packing = packing_of(windows.ids, cls_id=self.cls_id)
        ids = torch.from_numpy(windows.ids)
        begins = packing.position_ids.flatten() == 0  # (B * T,); a window's first token does
        positions = (~begins[1:]).nonzero().squeeze(1)  # those whose next begins no piece
        return NextTokenBatch(
            input_ids=ids,
            positions=positions,
            labels=ids.flatten()[positions + 1],
            packing=packing,
            num_tokens=ids.numel(),
            num_slots=ids.numel(),
        )
