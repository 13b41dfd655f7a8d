"""An encoder with one linear layer on top: the network of every task."""

import logging
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from vertiform.batches.examples import NO_UNIT, ExampleBatch
from vertiform.errors import ConfigError, did_you_mean
from vertiform.models.attention import reading, reads_packed
from vertiform.tasks.case import NUM_CASES

POOLINGS = ("mean", "first")
HEAD_STD = 0.02  # of the new layer's weights, as in BERT (Devlin et al. 2019)

logger = logging.getLogger(__name__)


class TaskNetwork(nn.Module):
    """Token ids to logits, the texts of a batch end to end without padding.

    Against padded texts of 108 to 512 tokens in random batches of 16, on one core: 1.9 to 2.2 times
    as fast, 3.2 with the products of models.products.

    pooling: what the head sees of a unit, a text or a word: the "mean" of its tokens, or the
             "first" of them (of a text, CLS).
    sees_case: whether the encoder sees how each word is written in capitals (tasks.case), by a
             vector that is added to the token's and is 0 at first.
    frozen_layers: how many of the lowest layers stay as they are, counting the embeddings as the
             first: 0 trains all, 1 all but the embeddings. Frozen layers have no dropout.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        *,
        num_outputs: int,
        pooling: str,
        dropout: float = 0.0,
        frozen_layers: int = 0,
        sees_case: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ConfigError(
                f"pooling is `{pooling}`, which does not exist.",
                fix=did_you_mean(pooling, POOLINGS),
            )
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, num_outputs)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)
        self.cases = None
        if sees_case:
            self.cases = nn.Embedding(NUM_CASES, encoder.config.hidden_size)
            nn.init.zeros_(self.cases.weight)
        self.pooling = pooling
        self._dropout = dropout
        self._reads_packed = reads_packed(encoder)
        if not self._reads_packed:
            logger.info(
                "%s cannot read texts without padding: they are padded.", type(encoder).__name__
            )
        self._frozen = _lowest(encoder, frozen_layers)
        for part in self._frozen:
            part.requires_grad_(False)

    def forward(self, batch: ExampleBatch) -> Tensor:
        """Return the logits of each unit, (B, U, C)."""
        if self._reads_packed:
            ids, cases = (x.flatten()[batch.places] for x in (batch.input_ids, batch.cases))
            read = reading(batch.packing, self.encoder)
            hidden = self._hidden(ids[None], cases[None], **read)[0]  # (N, D)
        else:
            padded = self._hidden(batch.input_ids, batch.cases, attention_mask=batch.attention_mask)
            hidden = padded.flatten(0, 1)[batch.places]  # (B, T, D) -> (N, D)
        pooled = self._pooled(hidden, batch)
        return self.head(F.dropout(pooled, self._dropout, training=self.training))

    def _hidden(self, input_ids: Tensor, cases: Tensor, **read: Any) -> Tensor:
        """Run the encoder: (B, T) to (B, T, D)."""
        if self.cases is None:
            read["input_ids"] = input_ids
        else:
            tokens = self.encoder.get_input_embeddings()(input_ids)  # (B, T, D)
            read["inputs_embeds"] = tokens + self.cases(cases)
        return self.encoder(**read).last_hidden_state

    def _pooled(self, hidden: Tensor, batch: ExampleBatch) -> Tensor:
        """What the head sees of each unit: hidden (N, D) to (B, U, D)."""
        num_examples, num_units = batch.targets.shape
        unit_of = batch.unit_of.flatten()[batch.places]  # (N,)
        unit = batch.packing.segment_ids[0] * num_units + unit_of  # counted through the examples
        is_in = unit_of != NO_UNIT
        if self.pooling == "first":  # a unit's tokens stand together
            is_in = is_in & (unit != F.pad(unit[:-1], (1, 0), value=NO_UNIT))
        weight = is_in.to(hidden.dtype)
        unit = unit.clamp(min=0)  # of no unit: it adds nothing
        size = num_examples * num_units
        sums = hidden.new_zeros(size, hidden.shape[1])
        sums = sums.index_add(0, unit, hidden * weight[:, None])
        counts = weight.new_zeros(size).index_add(0, unit, weight).clamp(min=1)  # padded units: 0
        return (sums / counts[:, None]).unflatten(0, (num_examples, num_units))

    @property
    def added(self) -> nn.ModuleDict:
        """What no checkpoint brings: the head, and the cases where they are seen."""
        parts = {"head": self.head, "cases": self.cases}
        return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})

    def train(self, mode: bool = True) -> "TaskNetwork":
        """Switch dropout, except that of what is frozen, which stays off."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean nats of the right output over all labelled units, a scalar.

    logits: (B, U, C). targets: (B, U).
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def _lowest(encoder: PreTrainedModel, count: int) -> tuple[nn.Module, ...]:
    """The embeddings and the lowest layers, `count` in all."""
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=len)
    if not 0 <= count <= 1 + len(layers):
        raise ConfigError(
            f"frozen_layers is {count}, but this encoder has {len(layers)} layers and its "
            "embeddings to freeze.",
            fix=f"set frozen_layers to a number from 0 to {1 + len(layers)}.",
        )
    embeddings = getattr(encoder, "embeddings", None) or encoder.get_input_embeddings()
    return (embeddings, *layers)[:count]
