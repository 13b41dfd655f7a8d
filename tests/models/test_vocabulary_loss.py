import pytest
import torch
import torch.nn.functional as F
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ElectraConfig,
    ElectraForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from vertiform.errors import TrainingError
from vertiform.models.vocabulary_loss import (
    chunked_cross_entropy,
    nats_of_labels,
    probabilities_of,
)

N, D, V = 50, 16, 97


def inputs(*, has_bias: bool, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=draw, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, D, generator=draw, dtype=dtype, requires_grad=True)
    bias = torch.randn(V, generator=draw, dtype=dtype, requires_grad=True) if has_bias else None
    return hidden, weight, bias, torch.randint(0, V, (N,), generator=draw)


def gradients(loss, *of):
    return torch.autograd.grad(loss, [each for each in of if each is not None])


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, N, 1000, None])
def test_it_and_its_gradients_are_those_of_cross_entropy_over_all_logits(chunk, has_bias):
    hidden, weight, bias, labels = inputs(has_bias=has_bias)
    expected = F.cross_entropy(F.linear(hidden, weight, bias), labels)
    loss = chunked_cross_entropy(hidden, weight, bias, labels, chunk=chunk)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    # 3 * loss: the gradients have to be scaled by what comes after.
    for ours, theirs in zip(
        gradients(3 * loss, hidden, weight, bias),
        gradients(3 * expected, hidden, weight, bias),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_logits_far_apart_neither_overflow_nor_lose_the_label():
    hidden, weight, _, labels = inputs(has_bias=False)
    loss = chunked_cross_entropy(hidden * 1000, weight, None, labels)
    expected = F.cross_entropy(F.linear(hidden * 1000, weight), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_tied_to_the_embeddings_get_both_their_gradients():
    _, weight, _, labels = inputs(has_bias=False)
    expected = F.cross_entropy(F.linear(weight[labels], weight), labels)
    loss = chunked_cross_entropy(weight[labels], weight, None, labels)
    torch.testing.assert_close(gradients(loss, weight), gradients(expected, weight))


def test_without_gradients_it_is_the_same_loss():
    given = inputs(has_bias=True)
    with torch.no_grad():
        loss = chunked_cross_entropy(*given)
    assert not loss.requires_grad
    assert loss.item() == chunked_cross_entropy(*given).item()


def test_under_autocast_it_is_as_near_as_the_dtype_allows():
    hidden, weight, bias, labels = inputs(has_bias=True)
    expected = F.cross_entropy(F.linear(hidden, weight, bias), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = chunked_cross_entropy(hidden, weight, bias, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    for ours, theirs in zip(
        gradients(loss, hidden, weight, bias),
        gradients(expected, hidden, weight, bias),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=2e-3)


def test_a_mean_over_nothing_is_refused():
    hidden, weight, bias, labels = inputs(has_bias=True)
    with pytest.raises(ValueError, match="no labels"):
        chunked_cross_entropy(hidden[:0], weight, bias, labels[:0])


def heads():
    small = {"vocab_size": V, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = small | {"hidden_size": D, "intermediate_size": 32}
    yield BertForMaskedLM(BertConfig(**encoder))
    yield RobertaForMaskedLM(RobertaConfig(**encoder))
    yield ElectraForMaskedLM(ElectraConfig(**encoder, embedding_size=8))
    yield GPT2LMHeadModel(GPT2Config(**small, hidden_size=D))


@pytest.mark.parametrize("network", list(heads()), ids=lambda network: network.config.model_type)
def test_every_kind_of_head_gives_the_loss_of_its_own_logits(network):
    network.eval()
    ids = torch.randint(5, V, (2, 10), generator=torch.Generator().manual_seed(0))
    logits = network(input_ids=ids).logits  # (B, T, V)
    hidden = network.base_model(input_ids=ids).last_hidden_state.flatten(0, 1)
    loss = nats_of_labels(network, hidden, ids.flatten())
    expected = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_network_without_a_vocabulary_head_is_named():
    network = BertModel(BertConfig(vocab_size=V, hidden_size=12, num_hidden_layers=1))
    with pytest.raises(TrainingError, match="BertModel has no vocabulary head"):
        nats_of_labels(network, torch.zeros(1, 12), torch.zeros(1, dtype=torch.long))


def test_probabilities_are_those_whose_loss_is_taken():
    network = BertForMaskedLM(
        BertConfig(vocab_size=V, hidden_size=D, num_hidden_layers=1, num_attention_heads=2)
    )
    hidden, _, _, labels = inputs(has_bias=False)
    with torch.no_grad():
        probabilities = probabilities_of(network, hidden)
        nats = nats_of_labels(network, hidden, labels)
    assert probabilities.sum(dim=1).tolist() == pytest.approx([1.0] * N)
    of_labels = probabilities.gather(1, labels[:, None])
    assert -of_labels.log().mean().item() == pytest.approx(nats.item(), rel=1e-5)
