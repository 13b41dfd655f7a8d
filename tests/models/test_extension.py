"""New tokens start from the mean of their pieces, in every place that has a row for each token."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    GPT2Config,
    GPT2LMHeadModel,
)

from vertiform.errors import TrainingError
from vertiform.models.encoder import EncoderParams
from vertiform.models.extension import extend_embeddings
from vertiform.models.pretraining import build_replaced_token_network

SIZE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
GPT2 = GPT2Config(
    vocab_size=50, n_embd=16, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=None
)
NETWORKS = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZE)),
    "bert, untied": lambda: BertForMaskedLM(BertConfig(**SIZE, tie_word_embeddings=False)),
    "electra's generator": lambda: ElectraForMaskedLM(ElectraConfig(**SIZE, embedding_size=8)),
    "electra's discriminator": lambda: ElectraForPreTraining(ElectraConfig(**SIZE)),
    "gpt-2": lambda: GPT2LMHeadModel(GPT2),
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_new_rows_are_the_mean_of_their_pieces_and_old_rows_stay(build):
    torch.manual_seed(0)
    network = build().eval()
    old = {name: value.clone() for name, value in network.state_dict().items()}
    is_tied = network.get_output_embeddings() is not None and (
        network.get_output_embeddings().weight is network.get_input_embeddings().weight
    )
    extend_embeddings(network, {50: (7, 8), 51: (9,)})
    grown = 0
    for name, value in network.state_dict().items():
        assert torch.equal(value[: len(old[name])] if value.dim() else value, old[name])
        if value.shape != old[name].shape:
            grown += 1
            assert torch.allclose(value[50], old[name][[7, 8]].mean(dim=0))
            assert torch.equal(value[51], old[name][9])
    assert grown >= 1
    assert network.config.vocab_size == 52
    if is_tied:
        assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert network(torch.tensor([[50, 51, 3]])).logits.isfinite().all()


def test_a_generator_and_a_discriminator_go_on_sharing_their_embeddings():
    params = EncoderParams(
        width=16, depth=1, heads=2, feed_forward_width=16, max_tokens=8, dropout=0.0
    )
    network = build_replaced_token_network(params, generator_fraction=0.5, vocab_size=50, pad_id=0)
    old = network.discriminator.get_input_embeddings().weight.clone()
    extend_embeddings(network, {50: (7, 8), 51: (9,)})
    parts = (network.generator, network.discriminator)
    rows = network.discriminator.get_input_embeddings().weight
    assert network.generator.get_input_embeddings().weight is rows
    assert network.generator.get_output_embeddings().weight is rows
    assert torch.equal(rows[:50], old)
    assert torch.allclose(rows[50], old[[7, 8]].mean(dim=0))
    assert [part.config.vocab_size for part in parts] == [52, 52]
    assert len(network.generator.get_output_embeddings().bias) == 52
    ids = torch.tensor([[50, 51, 3]])
    assert all(part(ids).logits.isfinite().all() for part in parts)


def test_a_row_that_the_checkpoint_kept_free_is_used():
    network = BertForMaskedLM(BertConfig(**SIZE))  # 50 rows, of which its tokenizer uses 48
    extend_embeddings(network, {48: (7, 8)})
    rows = network.get_input_embeddings().weight
    assert len(rows) == 50
    assert torch.allclose(rows[48], rows[[7, 8]].mean(dim=0))


def test_nothing_to_add_changes_nothing():
    network = BertForMaskedLM(BertConfig(**SIZE))
    extend_embeddings(network, {})
    assert network.config.vocab_size == 50


def test_a_tokenizer_that_knows_more_than_the_checkpoint_is_refused():
    with pytest.raises(TrainingError, match=r"embeddings of 50 tokens, but .* knows token 60"):
        extend_embeddings(BertForMaskedLM(BertConfig(**SIZE)), {61: (60,)})
