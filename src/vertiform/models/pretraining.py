"""Networks that exist only while a language model is trained: encoders with several heads."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import (
    BertForPreTraining,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PreTrainedModel,
)

from vertiform.errors import ConfigError, TrainingError
from vertiform.models.attention import PACKED
from vertiform.models.encoder import EncoderParams
from vertiform.models.loading import dropouts, load, read_config


class ReplacedTokenNetwork(nn.Module):
    """A generator that fills gaps, and the discriminator that looks for what it filled in.

    They share the embeddings of tokens, positions and token types (ELECTRA: Clark et al. 2020,
    section 3.2); only the discriminator is kept after training.
    """

    def __init__(self, generator: ElectraForMaskedLM, discriminator: ElectraForPreTraining) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        theirs: Any = generator.electra.embeddings
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            getattr(theirs, name).weight = getattr(discriminator.electra.embeddings, name).weight
        generator.generator_lm_head.weight = theirs.word_embeddings.weight

    @property
    def config(self) -> ElectraConfig:
        """The discriminator's, whose limits are the generator's too."""
        return self.discriminator.config

    def logits_of_replaced(self, hidden: Tensor) -> Tensor:
        """(N, D) last hidden states of the discriminator -> (N,), above 0 for a replaced token."""
        return self.discriminator.discriminator_predictions(hidden)


def build_bert(params: EncoderParams, *, vocab_size: int, pad_id: int) -> BertForPreTraining:
    """Build an encoder with a vocabulary head and a head that tells whether B follows A."""
    return BertForPreTraining(params.config(vocab_size=vocab_size, pad_id=pad_id))


def load_bert(folder: Path, *, dropout: float | None) -> PreTrainedModel:
    """Load a BERT checkpoint with both heads; one that it lacks gets new weights."""
    _check_kind(folder, "bert", objective="mlm_nsp")
    return load(BertForPreTraining, folder, **dropouts(dropout))


def build_replaced_token_network(
    params: EncoderParams, *, generator_fraction: float, vocab_size: int, pad_id: int
) -> ReplacedTokenNetwork:
    """Build both networks; the generator's layers are `generator_fraction` as wide."""
    bert = params.config(vocab_size=vocab_size, pad_id=pad_id)
    config = ElectraConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_id,
        embedding_size=params.width,
        hidden_size=params.width,
        num_hidden_layers=params.depth,
        num_attention_heads=params.heads,
        intermediate_size=params.feed_forward_width,
        max_position_embeddings=params.max_tokens,
        hidden_dropout_prob=bert.hidden_dropout_prob,
        attention_probs_dropout_prob=0.0,  # above 0, attention leaves its fused paths
        attn_implementation=PACKED,  # type: ignore[call-arg]
    )
    return _with_new_generator(ElectraForPreTraining(config), generator_fraction)


def load_replaced_token_network(
    folder: Path, *, generator_fraction: float, dropout: float | None
) -> ReplacedTokenNetwork:
    """Load a discriminator. Its generator was not kept: it gets new weights, but for those shared.

    Raises TrainingError for a checkpoint of another kind.
    """
    _check_kind(folder, "electra", objective="rtd")
    discriminator = load(ElectraForPreTraining, folder, **dropouts(dropout))
    return _with_new_generator(discriminator, generator_fraction)


def _with_new_generator(discriminator: Any, fraction: float) -> ReplacedTokenNetwork:
    config = ElectraConfig(**discriminator.config.to_dict())
    config.hidden_size = int(config.hidden_size * fraction)
    config.intermediate_size = int(config.intermediate_size * fraction)
    most_heads = max(1, round(config.num_attention_heads * fraction))
    if min(config.hidden_size, config.intermediate_size) < 1:
        raise ConfigError(
            f"objective.generator_fraction {fraction} leaves a generator without width.",
            fix="raise it; 0.25 is usual for a discriminator 768 wide.",
        )
    config.num_attention_heads = max(
        heads for heads in range(1, most_heads + 1) if config.hidden_size % heads == 0
    )
    config._attn_implementation = PACKED
    return ReplacedTokenNetwork(ElectraForMaskedLM(config), discriminator)


def _check_kind(folder: Path, kind: str, *, objective: str) -> None:
    found = read_config(folder).model_type
    if found != kind:
        raise TrainingError(
            f"{folder} holds a model of the kind `{found}`, and objective={objective} goes on from "
            f"one of the kind `{kind}`.",
            fix="name a checkpoint of that kind, say weights=null, or choose another objective "
            f"for {folder.name}.",
        )
