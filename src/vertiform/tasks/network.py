"""An encoder with one linear layer on top: the network of every task."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from vertiform.batches.examples import ExampleBatch
from vertiform.errors import ConfigError, did_you_mean
from vertiform.tasks.case import NUM_CASES

POOLINGS = ("mean", "first")
HEAD_STD = 0.02  # of the new layer's weights, as in BERT (Devlin et al. 2019)


class TaskNetwork(nn.Module):
    """Token ids to logits.

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
        self._frozen = _lowest(encoder, frozen_layers)
        for part in self._frozen:
            part.requires_grad_(False)

    def forward(self, batch: ExampleBatch) -> Tensor:
        """Return the logits of each unit, (B, U, C)."""
        if self.cases is None:
            read = {"input_ids": batch.input_ids}
        else:
            tokens = self.encoder.get_input_embeddings()(batch.input_ids)  # (B, T, D)
            read = {"inputs_embeds": tokens + self.cases(batch.cases)}
        hidden = self.encoder(**read, attention_mask=batch.attention_mask).last_hidden_state
        pooled = self._shares(batch).to(hidden.dtype) @ hidden  # (B, U, T) @ (B, T, D) = (B, U, D)
        return self.head(F.dropout(pooled, self._dropout, training=self.training))

    def _shares(self, batch: ExampleBatch) -> Tensor:
        """How much of each unit is each token: (B, U, T) float32, each unit's sum 1."""
        units = torch.arange(batch.targets.shape[1], device=batch.unit_of.device)
        is_in = batch.unit_of[:, None, :] == units[:, None]  # (B, U, T) bool
        if self.pooling == "first":
            is_in = is_in & (is_in.cumsum(dim=2) == 1)
        shares = is_in.float()
        return shares / shares.sum(dim=2, keepdim=True).clamp(min=1)  # a padded unit has none

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
