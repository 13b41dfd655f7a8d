"""GPT-2-architecture decoders (Radford et al. 2019): built from a size, or loaded from a folder."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from vertiform.corpus.manifest import SpecialIds
from vertiform.errors import TrainingError
from vertiform.models.attention import PACKED
from vertiform.models.loading import load, read_config
from vertiform.models.size import Size

LOADED = ("gpt2", "llama", "qwen2", "qwen3")
# The same function as GPT-2's own `gelu_new`, in one kernel instead of eight.
GELU = "gelu_pytorch_tanh"


@dataclass(frozen=True, kw_only=True)
class DecoderParams(Size):
    """One size of decoder."""

    def config(self, *, vocab_size: int, special_ids: SpecialIds) -> GPT2Config:
        """Return the transformers config of this size. A text is [CLS] ... [SEP] to it."""
        return GPT2Config(
            vocab_size=vocab_size,
            n_positions=self.max_tokens,
            n_embd=self.width,
            n_layer=self.depth,
            n_head=self.heads,
            n_inner=self.feed_forward_width,
            activation_function=GELU,
            resid_pdrop=self.dropout,
            embd_pdrop=self.dropout,
            attn_pdrop=0.0,  # above 0, attention leaves its fused paths
            bos_token_id=special_ids.cls,
            eos_token_id=special_ids.sep,
            pad_token_id=special_ids.pad,
            attn_implementation=PACKED,  # type: ignore[call-arg]
        )


def build_decoder(
    params: DecoderParams, *, vocab_size: int, special_ids: SpecialIds
) -> GPT2LMHeadModel:
    """Build a decoder whose head is tied to its embeddings. Weights from torch's generator."""
    return GPT2LMHeadModel(params.config(vocab_size=vocab_size, special_ids=special_ids))


def load_decoder(folder: Path, *, dropout: float | None = None) -> PreTrainedModel:
    """Load a checkpoint folder of a causal language model, one of the kinds LOADED.

    `dropout` replaces the checkpoint's, where its kind has any; its attention dropout becomes 0.
    """
    config = read_config(folder)
    is_windowed = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if config.model_type not in LOADED or is_windowed:
        raise TrainingError(
            f"{folder} holds a model of the kind `{config.model_type}`"
            f"{' with sliding windows' if is_windowed else ''}, which cannot be trained here to "
            "predict the next token.",
            fix=f"name a checkpoint of one of these kinds, with full attention: "
            f"{', '.join(LOADED)}.",
        )
    if config.model_type == "gpt2":
        config.attn_pdrop = 0.0
        if config.activation_function == "gelu_new":
            config.activation_function = GELU
        if dropout is not None:
            config.resid_pdrop = config.embd_pdrop = dropout
    else:
        config.attention_dropout = 0.0  # these kinds have no other
    return load(AutoModelForCausalLM, folder, config=config)
