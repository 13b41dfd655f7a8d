"""What fine-tuning starts from: new weights, the encoder pretrained here, or a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from vertiform.checkpoint_names import checkpoint_folder
from vertiform.errors import ConfigError
from vertiform.models.encoder import build_like, load_encoder
from vertiform.tasks.bundle import load_tokenizer

NEW, DOMAIN = "new", "domain"


@dataclass(frozen=True, kw_only=True)
class Start:
    """One file of conf/start/.

    weights: "new", of the size and with the tokenizer of the encoder pretrained here;
             "domain", that encoder; or the name of a checkpoint (vertiform/checkpoint_names.py).
             The door has put the folder in place of one in MLflow.
    pooling: what the head sees of a text or a word: "mean" or "first" (tasks.network).
    frozen_layers: lowest layers that stay as they are, the embeddings counted as the first.
    dropout: fraction; of the layers that are trained, and before the head.
    lr:      the schedule's highest learning rate, in place of the optimiser's.
    head_lr: the same of what no checkpoint brings (TaskNetwork.added).
    epochs:  passes over the training rows.
    """

    weights: str
    pooling: str
    frozen_layers: int
    dropout: float
    lr: float
    head_lr: float
    epochs: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or min(self.lr, self.head_lr) <= 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"A start with epochs {self.epochs}, lr {self.lr}, head_lr {self.head_lr} and "
                f"dropout {self.dropout} cannot be trained.",
                fix="set epochs to 1 or more, lr and head_lr above 0, dropout from 0 to below 1.",
            )


def load_start(start: Start, *, pretrained: Path) -> tuple[PreTrainedModel, Any]:
    """Return the encoder and the tokenizer to start from.

    pretrained: the folder that pretraining wrote. New weights are drawn from torch's generator.
    """
    is_ours = start.weights in (NEW, DOMAIN)
    folder = pretrained if is_ours else checkpoint_folder(start.weights)
    encoder = load_encoder(folder, dropout=start.dropout)
    if start.weights == NEW:
        encoder = build_like(encoder)
    return encoder, load_tokenizer(folder)
