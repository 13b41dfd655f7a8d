"""An encoder with one linear layer on top: the network of every task."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from vertiform.batches.examples import ExampleBatch
from vertiform.errors import ConfigError, did_you_mean
from vertiform.tasks.case import NUM_CASES

POOLINGS = ("mean", "first", "none")
HEAD_STD = 0.02  # of the new layer's weights, as in BERT (Devlin et al. 2019)


class TaskNetwork(nn.Module):
    """Token ids to logits.

    pooling: what the head sees of a text: the "mean" of its tokens, or the "first", CLS; with
             "none" it sees each token, and the encoder sees how each word is written in capitals
             (tasks.case), by a vector that is added to the token's and is 0 at first.
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
        if pooling == "none":
            self.cases = nn.Embedding(NUM_CASES, encoder.config.hidden_size)
            nn.init.zeros_(self.cases.weight)
        self.pooling = pooling
        self._dropout = dropout
        self._frozen = _lowest(encoder, frozen_layers)
        for part in self._frozen:
            part.requires_grad_(False)

    def forward(self, batch: ExampleBatch) -> Tensor:
        """Return logits: (B, C), or (B, T, C) without pooling."""
        if self.cases is None:
            read = {"input_ids": batch.input_ids}
        else:
            tokens = self.encoder.get_input_embeddings()(batch.input_ids)  # (B, T, D)
            read = {"inputs_embeds": tokens + self.cases(batch.cases)}
        hidden = self.encoder(**read, attention_mask=batch.attention_mask).last_hidden_state
        # hidden: (B, T, D)
        if self.pooling == "mean":
            mask = batch.attention_mask[..., None].to(hidden.dtype)  # (B, T, 1)
            hidden = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (B, D)
        elif self.pooling == "first":
            hidden = hidden[:, 0]  # (B, D)
        return self.head(F.dropout(hidden, self._dropout, training=self.training))

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
