"""Replaced-token detection (ELECTRA: Clark et al. 2020)."""

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
from vertiform.models.pretraining import (
    ReplacedTokenNetwork,
    build_replaced_token_network,
    load_replaced_token_network,
)
from vertiform.models.vocabulary_loss import nats_of_labels, sampled_labels
from vertiform.training.flops import flops_of, of_windows
from vertiform.training.objectives.losses import Losses
from vertiform.training.objectives.mlm import Corruption, MaskedBatch, MaskedLm
from vertiform.training.objectives.samples import blanks_of, rounded
from vertiform.training.samples import Sample


class ReplacedBatch(NamedTuple):
    """Windows with tokens hidden, and what decides which tokens the generator puts there.

    uniform:  (N,) float64 in [0, 1), one for each hidden token: it picks from the generator's
              probabilities, so that equal weights and batches give equal samples.
    ordinary: (M,) int64, the places in the flattened (B * T) windows of what was no special token.
    """

    masked: MaskedBatch
    uniform: Tensor
    ordinary: Tensor
    num_tokens: int
    num_slots: int


@dataclass(frozen=True, kw_only=True)
class ReplacedTokens:
    """A small generator fills in hidden tokens; the encoder says of each token if it was replaced.

    masked:             which tokens the generator has to fill in.
    generator_fraction: its width over the encoder's; ELECTRA found 1/4 to 1/2 to be best.
    discriminator_weight: of the encoder's loss beside the generator's.
    """

    masked: MaskedLm
    generator_fraction: float
    discriminator_weight: float

    reads: ClassVar[str] = "documents"

    def __post_init__(self) -> None:
        if not 0 < self.generator_fraction <= 1 or self.discriminator_weight <= 0:
            raise ConfigError(
                f"objective.generator_fraction {self.generator_fraction} must be over 0 and at "
                f"most 1, objective.discriminator_weight {self.discriminator_weight} over 0.",
                fix="ELECTRA's are 0.25 and 50.",
            )

    def network(self, model: Any, *, vocabulary: Vocabulary) -> ReplacedTokenNetwork:
        """Return both networks; their weights are drawn from torch's generator.

        Raises ConfigError for a decoder.
        """
        if not isinstance(model, EncoderParams):
            raise ConfigError(
                "objective=rtd trains an encoder, and the model is a decoder.",
                fix="say objective=clm, or name a model of conf/model/encoder_*.",
            )
        return build_replaced_token_network(
            model,
            generator_fraction=self.generator_fraction,
            vocab_size=vocabulary.size,
            pad_id=vocabulary.special_ids.pad,
        )

    def loaded(self, folder: Path, *, dropout: float | None) -> ReplacedTokenNetwork:
        """Return the networks to go on from an ELECTRA checkpoint, with a new generator."""
        return load_replaced_token_network(
            folder, generator_fraction=self.generator_fraction, dropout=dropout
        )

    def checkpoint_of(self, network: ReplacedTokenNetwork) -> PreTrainedModel:
        """Return what is written at the end: the discriminator."""
        return network.discriminator

    def preparer(self, vocabulary: Vocabulary) -> "Gaps":
        """Return what turns windows of this vocabulary into batches."""
        return Gaps(corruption=self.masked.preparer(vocabulary), vocabulary=vocabulary)

    def step_flops(self, network: Any) -> Callable[[ReplacedBatch], float]:
        """Return what counts the model FLOPs of training on a batch in host memory."""
        generator, discriminator = map(flops_of, (network.generator, network.discriminator))

        def count(batch: ReplacedBatch) -> float:
            packing = batch.masked.packing
            return of_windows(generator, packing, predicted=len(batch.masked.labels)) + of_windows(
                discriminator, packing, predicted=len(batch.ordinary)
            )

        return count

    def samples(
        self,
        network: ReplacedTokenNetwork,
        batches: Sequence[ReplacedBatch],
        vocabulary: Vocabulary,
    ) -> list[Sample]:
        """Return what the generator fills in, and what the encoder thinks of each token of it."""
        return [self._sample(network, batch, vocabulary) for batch in batches]

    def losses(self, network: ReplacedTokenNetwork, batch: ReplacedBatch) -> Losses:
        """Return the generator's nats per hidden token and the encoder's per ordinary token."""
        masked = batch.masked
        gaps = self._gaps(network, masked)
        nats = nats_of_labels(network.generator, gaps, masked.labels)

        # No gradient passes the sampling (section 3.1): the generator only learns to fill in.
        sampled = sampled_labels(network.generator, gaps.detach(), batch.uniform)  # (N,)
        filled = masked.input_ids.flatten().index_copy(0, masked.positions, sampled)
        # A sample that hits the token that stood there is none that was replaced.
        replaced = torch.zeros_like(filled, dtype=gaps.dtype)
        replaced.index_copy_(0, masked.positions, (sampled != masked.labels).to(gaps.dtype))

        judged = self._judged(network, filled.view_as(masked.input_ids), masked)
        found = F.binary_cross_entropy_with_logits(
            network.logits_of_replaced(judged.index_select(0, batch.ordinary)).float(),
            replaced[batch.ordinary].float(),
        )
        return Losses(
            nats + self.discriminator_weight * found,
            {
                "nats_per_token": (nats, len(masked.labels)),
                "replaced_nats": (found, len(batch.ordinary)),
            },
        )

    def _gaps(self, network: ReplacedTokenNetwork, masked: MaskedBatch) -> Tensor:
        """The generator's last hidden states at hidden tokens, (N, D / 4)."""
        read = reading(masked.packing, network.generator)
        hidden = network.generator.base_model(masked.input_ids, **read).last_hidden_state
        return hidden.flatten(0, 1).index_select(0, masked.positions)

    def _judged(self, network: ReplacedTokenNetwork, filled: Tensor, masked: MaskedBatch) -> Tensor:
        """The encoder's last hidden states of filled windows, (B, T) -> (B * T, D)."""
        read = reading(masked.packing, network.discriminator)
        return network.discriminator.base_model(filled, **read).last_hidden_state.flatten(0, 1)

    def _sample(
        self, network: ReplacedTokenNetwork, batch: ReplacedBatch, vocabulary: Vocabulary
    ) -> Sample:
        masked = batch.masked
        blanks = blanks_of(masked, vocabulary)
        sampled = sampled_labels(network.generator, self._gaps(network, masked), batch.uniform)
        filled = masked.input_ids.flatten().index_copy(0, masked.positions, sampled)
        judged = self._judged(network, filled.view_as(masked.input_ids), masked)
        at_blanks = judged[masked.positions[blanks.places]]
        chances = network.logits_of_replaced(at_blanks).float().sigmoid()
        told = zip(blanks.truth, sampled[blanks.places].tolist(), chances, strict=True)
        rows: list[dict[str, str | float]] = [
            {
                "blank": number,
                "truth": truth,
                "filled in": vocabulary.text_of([token]),
                "probability of replaced": rounded(chance),
            }
            for number, (truth, token, chance) in enumerate(told, start=1)
        ]
        return Sample(text=blanks.text, rows=rows)


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Hides tokens, and draws what decides how the generator fills them in."""

    corruption: Corruption
    vocabulary: Vocabulary

    def __call__(self, windows: Windows, draws: Draws, progress: float) -> ReplacedBatch:
        """Prepare windows, (B, T) int64."""
        masked = self.corruption(windows, draws, progress)
        # The row after those that corruption takes.
        uniform = draws.uniform(self.corruption.DRAWS + 1)[-1].reshape(-1)  # (B * T,)
        is_ordinary = ~self.vocabulary.is_special[windows.ids.reshape(-1)]
        return ReplacedBatch(
            masked=masked,
            uniform=torch.from_numpy(uniform)[masked.positions],
            ordinary=torch.from_numpy(is_ordinary).nonzero().squeeze(1),
            num_tokens=masked.num_tokens,
            num_slots=masked.num_slots,
        )
