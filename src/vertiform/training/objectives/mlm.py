"""Masked language modelling (Devlin et al. 2019, section 3.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from vertiform.batches.packing import Packing, packing_of
from vertiform.batches.vocabulary import Vocabulary
from vertiform.batches.windows import Draws, Windows
from vertiform.errors import ConfigError, did_you_mean
from vertiform.evaluation import names
from vertiform.models.attention import reading
from vertiform.models.encoder import EncoderParams, build_masked_lm, load_masked_lm
from vertiform.models.vocabulary_loss import nats_of_labels
from vertiform.training.flops import flops_of, of_windows
from vertiform.training.objectives.glossary import Glossary, read_glossary
from vertiform.training.objectives.losses import Losses
from vertiform.training.objectives.masking import MASKINGS, select, units_of
from vertiform.training.objectives.samples import blanks_of, guessed
from vertiform.training.samples import Sample


class MaskedBatch(NamedTuple):
    """Windows with tokens hidden, and which.

    input_ids: (B, T) int64, after corruption.
    positions: (N,) int64, the selected places of the flattened (B * T) windows, ascending. In a
               batch of a few windows there may be none.
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

    select_fraction: of the tokens that are not special, expected; the share is the same whatever
                     the masking.
    final_select_fraction: what select_fraction comes to, linearly, at the run's last step; None
                     keeps it. Validation always selects this share, so that its losses compare.
    masking:         "token" each for itself; "whole_word" all tokens of a word or none; "span" runs
                     of words (SpanBERT: Joshi et al. 2020, section 3.1).
    glossary:        a text file with one term a line: its terms are selected whole, as one token,
                     word or word of a span. None masks without.
    mask_fraction:   of the selected, replaced by [MASK]; random_fraction of them by a random token;
                     the rest stay, so that the encoder cannot trust what it sees. What is selected
                     together, a word, a term or a span, shares one of these fates.
    """

    select_fraction: float
    final_select_fraction: float | None
    masking: str
    glossary: str | None
    mask_fraction: float
    random_fraction: float

    reads: ClassVar[str] = "documents"

    def __post_init__(self) -> None:
        for name in ("select_fraction", "final_select_fraction"):
            fraction = getattr(self, name)
            if fraction is not None and not 0 < fraction < 1:
                raise ConfigError(
                    f"objective.{name} is {fraction}, not between 0 and 1.",
                    fix="0.15 is BERT's; 0.3 pays for larger models.",
                )
        if min(self.mask_fraction, self.random_fraction) < 0 or (
            self.mask_fraction + self.random_fraction > 1
        ):
            raise ConfigError(
                "objective.mask_fraction and objective.random_fraction do not fit within 1.",
                fix="BERT's are 0.8 and 0.1.",
            )
        if self.masking not in MASKINGS:
            raise ConfigError(
                f"objective.masking `{self.masking}` is not known.",
                fix=did_you_mean(self.masking, MASKINGS),
            )

    def network(self, model: Any, *, vocabulary: Vocabulary) -> PreTrainedModel:
        """Return an encoder with a vocabulary head; its weights are drawn from torch's generator.

        Raises ConfigError for a decoder, which cannot see what follows a hidden token.
        """
        if not isinstance(model, EncoderParams):
            raise ConfigError(
                "objective=mlm trains an encoder, and the model is a decoder.",
                fix="say objective=clm, or name a model of conf/model/encoder_*.",
            )
        return build_masked_lm(model, vocab_size=vocabulary.size, pad_id=vocabulary.special_ids.pad)

    def loaded(self, folder: Path, *, dropout: float | None) -> PreTrainedModel:
        """Return the network of a checkpoint folder to go on from (models.encoder)."""
        return load_masked_lm(folder, dropout=dropout)

    def checkpoint_of(self, network: PreTrainedModel) -> PreTrainedModel:
        """Return what is written at the end: all of it."""
        return network

    def preparer(self, vocabulary: Vocabulary) -> "Corruption":
        """Return what turns windows of this vocabulary into batches.

        Raises ConfigError for a glossary that cannot be used.
        """
        glossary = read_glossary(Path(self.glossary), vocabulary) if self.glossary else None
        return Corruption(rule=self, vocabulary=vocabulary, glossary=glossary)

    def fraction_at(self, progress: float) -> float:
        """Return the share to select at this progress of the run, 0 to 1."""
        final = self.final_select_fraction
        if final is None:
            return self.select_fraction
        return self.select_fraction + (final - self.select_fraction) * progress

    def step_flops(self, network: Any) -> Callable[[MaskedBatch], float]:
        """Return what counts the model FLOPs of training on a batch in host memory."""
        model = flops_of(network)
        return lambda batch: of_windows(model, batch.packing, predicted=len(batch.labels))

    def samples(
        self, network: PreTrainedModel, batches: Sequence[MaskedBatch], vocabulary: Vocabulary
    ) -> list[Sample]:
        """Return what the network puts into the first blanks of each window."""
        found = []
        for batch in batches:
            blanks = blanks_of(batch, vocabulary)
            read = reading(batch.packing, network)
            hidden = network.base_model(batch.input_ids, **read).last_hidden_state[0]  # (T, D)
            at_blanks = hidden[batch.positions[blanks.places]]
            found.append(guessed(network, at_blanks, blanks, vocabulary))
        return found

    def losses(self, network: PreTrainedModel, batch: MaskedBatch) -> Losses:
        """Return the mean nats per selected token.

        The vocabulary head runs over the selected positions only: over all of them it would cost
        more than a small encoder itself.
        """
        read = reading(batch.packing, network)
        hidden = network.base_model(batch.input_ids, **read).last_hidden_state  # (B, T, D)
        selected = hidden.flatten(0, 1).index_select(0, batch.positions)  # (N, D)
        nats = nats_of_labels(network, selected, batch.labels)
        return Losses(total=nats, parts={names.NATS_PER_TOKEN: (nats.detach(), len(batch.labels))})


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """Selects units of text and hides them by BERT's 80/10/10 rule.

    It takes the first DRAWS rows of uniform draws; a caller with more to draw takes later ones.
    """

    rule: MaskedLm
    vocabulary: Vocabulary
    glossary: Glossary | None

    DRAWS: ClassVar[int] = 4

    def __call__(self, windows: Windows, draws: Draws, progress: float) -> MaskedBatch:
        """Corrupt windows, (B, T) int64."""
        ids = windows.ids.reshape(-1).copy()  # (B * T,)
        uniform = draws.uniform(self.DRAWS).reshape(self.DRAWS, -1)  # (4, B * T)
        units = units_of(
            windows.ids, self.vocabulary, masking=self.rule.masking, glossary=self.glossary
        )
        fraction = self.rule.fraction_at(progress)
        chosen = select(units, uniform[:2], fraction=fraction, masking=self.rule.masking)
        labels = ids[chosen.positions]  # (N,)
        fate = uniform[2, chosen.leaders]
        place = uniform[3, chosen.positions] * len(self._ordinary_ids)
        is_masked = fate < self.rule.mask_fraction
        is_random = ~is_masked & (fate < self.rule.mask_fraction + self.rule.random_fraction)
        hidden = np.where(is_random, self._ordinary_ids[place.astype(np.int64)], labels)
        hidden[is_masked] = self.vocabulary.special_ids.mask
        ids[chosen.positions] = hidden
        return MaskedBatch(
            input_ids=torch.from_numpy(ids.reshape(windows.ids.shape)),
            positions=torch.from_numpy(chosen.positions),
            labels=torch.from_numpy(labels),
            packing=packing_of(windows.ids, cls_id=self.vocabulary.special_ids.cls),
            num_tokens=ids.size,
            num_slots=ids.size,
        )

    @cached_property
    def _ordinary_ids(self) -> np.ndarray:
        return np.flatnonzero(~self.vocabulary.is_special)
