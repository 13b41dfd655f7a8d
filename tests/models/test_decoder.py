from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tests.builders import SPECIAL
from vertiform.errors import ConfigError, TrainingError
from vertiform.models.decoder import DecoderParams, build_decoder, load_decoder

SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = SMALL | {"intermediate_size": 32, "num_key_value_heads": 1}


@pytest.mark.parametrize(
    ("name", "vocab_size", "million_parameters"),
    [("tiny", 8000, 1.5), ("small", 16000, 7.4), ("base", 50257, 124.4), ("large", 50257, 354.8)],
)
def test_each_size_in_conf_has_the_parameters_it_says(name, vocab_size, million_parameters):
    values = OmegaConf.to_container(OmegaConf.load(f"conf/model/decoder_{name}.yaml"))
    values.pop("_target_")
    with torch.device("meta"):
        network = build_decoder(DecoderParams(**values), vocab_size=vocab_size, special_ids=SPECIAL)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters / 1e6 == pytest.approx(million_parameters, rel=0.01)


def saved(network, folder: Path) -> Path:
    network.save_pretrained(folder)
    return folder


def test_a_gpt2_of_others_computes_the_same_with_its_activation_fused(tmp_path):
    torch.manual_seed(0)
    folder = saved(GPT2LMHeadModel(GPT2Config(**SMALL)), tmp_path)
    ours, theirs = load_decoder(folder, dropout=0.3), AutoModelForCausalLM.from_pretrained(folder)
    assert theirs.config.activation_function == "gelu_new"
    assert (ours.config.attn_pdrop, ours.config.resid_pdrop) == (0.0, 0.3)
    ids = torch.arange(20).view(2, 10)
    torch.testing.assert_close(ours.eval()(ids).logits, theirs(ids).logits, rtol=1e-5, atol=1e-6)


def test_a_llama_loads_too(tmp_path):
    folder = saved(LlamaForCausalLM(LlamaConfig(**LLAMA)), tmp_path)
    assert load_decoder(folder, dropout=0.1).config.attention_dropout == 0.0


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (BertModel(BertConfig(**SMALL, intermediate_size=32)), "the kind `bert`"),
        (MistralForCausalLM(MistralConfig(**LLAMA)), "the kind `mistral`"),
        (
            Qwen2ForCausalLM(Qwen2Config(**LLAMA, use_sliding_window=True, max_window_layers=0)),
            "the kind `qwen2` with sliding windows",
        ),
    ],
)
def test_a_kind_that_cannot_be_trained_so_is_named(network, said, tmp_path):
    with pytest.raises(TrainingError, match=said):
        load_decoder(saved(network, tmp_path))


def test_a_folder_that_is_no_checkpoint_says_what_it_lacks(tmp_path):
    with pytest.raises(TrainingError, match=r"no config\.json and no model\.safetensors"):
        load_decoder(tmp_path)


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"model\.heads 5"):
        DecoderParams(width=32, depth=2, heads=5, feed_forward_width=64, max_tokens=32, dropout=0.1)
