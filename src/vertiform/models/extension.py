"""Gives a loaded network rows for the tokens that were added to its vocabulary.

A new row is the mean of the rows of the pieces that its token was written with before (Gee et al.
2022), so that training goes on from what the network made of the word until now. Old
rows stay as they are, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vertiform.errors import TrainingError


def extend_embeddings(network: nn.Module, pieces: Mapping[int, Sequence[int]]) -> None:
    """Give `network` a row for each id in `pieces`, the mean of the rows of its old ids; in place.

    The input embeddings, the vocabulary head and its bias are extended, of every transformers model
    in `network`; what was one parameter before stays one. Hidden states and old logits of a text
    without new tokens stay what they were; its loss rises by what the softmax now gives to them.
    """
    if not pieces:
        return
    for model in _models(network):
        _extend(model, pieces)


def _extend(model: Any, pieces: Mapping[int, Sequence[int]]) -> None:
    rows, before = 1 + max(pieces), model.config.vocab_size
    unknown = sorted({old for ids in pieces.values() for old in ids if old >= before})
    if unknown:
        raise TrainingError(
            f"The checkpoint has embeddings of {before:,} tokens, but its tokenizer knows token "
            f"{unknown[0]:,}.",
            fix="name a checkpoint whose tokenizer.json is its own.",
        )
    if rows > before:
        # Not transformers' mean of all rows: every new row is written below.
        model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for parameter in _by_token(model):
            for new, old in pieces.items():
                parameter[new] = parameter[list(old)].mean(dim=0)


def _models(network: nn.Module) -> list[PreTrainedModel]:
    """The transformers models in `network`, those within another left out."""
    if isinstance(network, PreTrainedModel):
        return [network]
    return [model for part in network.children() for model in _models(part)]


def _by_token(model: Any) -> list[Tensor]:
    """Every parameter with a row (or a number, of a bias) for each token; tied ones once."""
    modules = [model.get_input_embeddings(), model.get_output_embeddings()]
    found = [
        part
        for module in modules
        for part in (getattr(module, "weight", None), getattr(module, "bias", None))
        if part is not None
    ]
    return list({id(part): part for part in found}.values())
