"""BERT-architecture encoders (Devlin et al. 2019): built from a size, or loaded from a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedModel,
)

from vertiform.models.attention import PACKED
from vertiform.models.loading import dropouts, load, read_config
from vertiform.models.size import Size


@dataclass(frozen=True, kw_only=True)
class EncoderParams(Size):
    """One size of encoder."""

    def config(self, *, vocab_size: int, pad_id: int) -> BertConfig:
        """Return the transformers config of this size for a vocabulary."""
        return BertConfig(
            vocab_size=vocab_size,
            pad_token_id=pad_id,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.feed_forward_width,
            max_position_embeddings=self.max_tokens,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=0.0,  # above 0, attention leaves its fused paths
            attn_implementation=PACKED,  # type: ignore[call-arg]
        )


def build_masked_lm(params: EncoderParams, *, vocab_size: int, pad_id: int) -> BertForMaskedLM:
    """Build an encoder with a vocabulary head. Its weights are drawn from torch's generator."""
    return BertForMaskedLM(params.config(vocab_size=vocab_size, pad_id=pad_id))


def build_encoder(params: EncoderParams, *, vocab_size: int, pad_id: int) -> BertModel:
    """Build an encoder without a head. Its weights are drawn from torch's generator."""
    config = params.config(vocab_size=vocab_size, pad_id=pad_id)
    return BertModel(config, add_pooling_layer=False)


def load_masked_lm(folder: Path, *, dropout: float | None = None) -> PreTrainedModel:
    """Load a checkpoint folder with a vocabulary head.

    A checkpoint without one gets a new one, whose weights are drawn from torch's generator, tied to
    its own embeddings. `dropout` replaces the checkpoint's; its attention dropout becomes 0.
    """
    return load(AutoModelForMaskedLM, folder, **dropouts(dropout))


def build_like(encoder: PreTrainedModel) -> PreTrainedModel:
    """Build an encoder of the same architecture and size. Weights from torch's generator."""
    return AutoModel.from_config(encoder.config, **_without_pooler(encoder.config))


def load_encoder(folder: Path, *, dropout: float | None = None) -> PreTrainedModel:
    """Load the encoder of a checkpoint folder, without a head; `dropout` as in load_masked_lm."""
    without_pooler = _without_pooler(read_config(folder))
    return load(AutoModel, folder, **dropouts(dropout), **without_pooler)


def _without_pooler(config: Any) -> dict[str, bool]:
    """ELECTRA never has one, and does not know the option."""
    return {} if config.model_type == "electra" else {"add_pooling_layer": False}
