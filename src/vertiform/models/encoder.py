"""BERT-architecture encoders (Devlin et al. 2019): built from a size, or loaded from a folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedModel,
)

from vertiform.errors import ConfigError, TrainingError
from vertiform.files import folder_written_whole
from vertiform.models.attention import PACKED
from vertiform.models.quiet import quiet_transformers

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, kw_only=True)
class EncoderParams:
    """One size of encoder: a file of conf/model/.

    width:      D, the size of a token's vector; a multiple of heads.
    max_tokens: the longest input; positions are learned up to here.
    dropout:    fraction of each layer's output set to 0 while training; not of the attention.
    """

    width: int
    depth: int
    heads: int
    feed_forward_width: int
    max_tokens: int
    dropout: float

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(
                f"model.width {self.width} is not a multiple of model.heads {self.heads}.",
                fix="make it one; 64 per head is usual.",
            )

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
    return _load(AutoModelForMaskedLM, folder, dropout=dropout)


def build_like(encoder: PreTrainedModel) -> PreTrainedModel:
    """Build an encoder of the same architecture and size. Weights from torch's generator."""
    return AutoModel.from_config(encoder.config, **_without_pooler(encoder.config))


def load_encoder(folder: Path, *, dropout: float | None = None) -> PreTrainedModel:
    """Load the encoder of a checkpoint folder, without a head; `dropout` as in load_masked_lm."""
    return _load(AutoModel, folder, dropout=dropout, **_without_pooler(read_config(folder)))


def read_config(folder: Path) -> Any:
    """Read the transformers config of a checkpoint folder."""
    check_is_checkpoint(folder)
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def save_checkpoint(network: PreTrainedModel, *, tokenizer: Path, out: Path) -> None:
    """Write `network` and the tokenizer of folder `tokenizer` to `out`, whole or not at all.

    The format is Hugging Face's: config.json, model.safetensors, tokenizer files.
    """
    with folder_written_whole(out) as aside, quiet_transformers():
        network.save_pretrained(aside)
        for name in TOKENIZER_FILES:
            shutil.copyfile(tokenizer / name, aside / name)


def _load(auto: Any, folder: Path, *, dropout: float | None, **options: bool) -> PreTrainedModel:
    check_is_checkpoint(folder)
    changed = {"attention_probs_dropout_prob": 0.0}
    if dropout is not None:
        changed["hidden_dropout_prob"] = dropout
    with quiet_transformers():
        return auto.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,  # never unpickle
            trust_remote_code=False,
            attn_implementation=PACKED,
            **changed,
            **options,
        )


def _without_pooler(config: Any) -> dict[str, bool]:
    """ELECTRA never has one, and does not know the option."""
    return {} if config.model_type == "electra" else {"add_pooling_layer": False}


def check_is_checkpoint(folder: Path) -> None:
    """Raise TrainingError unless the folder holds a network in Hugging Face's format."""
    missing = [n for n in ("config.json", "model.safetensors") if not (folder / n).is_file()]
    if missing:
        raise TrainingError(
            f"{folder} is no checkpoint: it has no {' and no '.join(missing)}.",
            fix="name a folder in Hugging Face's format; `vertiform pretrain` writes one.",
        )
