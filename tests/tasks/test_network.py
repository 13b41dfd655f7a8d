import numpy as np
import pytest
import torch

from tests.tasks.small import tiny_checkpoint
from vertiform.batches.examples import IGNORED, NO_UNIT, Example, collate
from vertiform.errors import ConfigError
from vertiform.models.encoder import load_encoder
from vertiform.tasks.network import TaskNetwork, nats


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def network(checkpoint, **changes):
    options = {"num_outputs": 3, "pooling": "mean", "dropout": 0.1, **changes}
    return TaskNetwork(load_encoder(checkpoint, dropout=0.1), **options)


def batch_of(*lengths, words=False):
    """Texts of so many tokens; with `words`, each two tokens are a word of them."""
    examples = []
    for n, length in enumerate(lengths):
        unit_of = np.arange(length) // 2 if words else np.zeros(length, dtype=np.int64)
        units = np.unique(unit_of)
        ids = np.arange(5, 5 + length)
        examples.append(Example(n, ids, ids % 5, unit_of, np.zeros_like(units), units))
    return collate(examples, range(len(lengths)), pad_id=0)


def test_logits_are_of_texts_or_of_words(checkpoint):
    assert network(checkpoint)(batch_of(4, 9)).shape == (2, 1, 3)
    assert network(checkpoint)(batch_of(4, 9, words=True)).shape == (2, 5, 3)


@pytest.mark.parametrize(
    ("pooling", "pooled"), [("mean", [[0, 1], [2, 3], [4]]), ("first", [[0], [2], [4]])]
)
def test_a_word_is_the_mean_or_the_first_of_its_tokens(checkpoint, pooling, pooled):
    ready = network(checkpoint, pooling=pooling).eval()
    batch = batch_of(5, words=True)
    hidden = ready.encoder(input_ids=batch.input_ids).last_hidden_state[0]
    expected = torch.stack([ready.head(hidden[tokens].mean(dim=0)) for tokens in pooled])
    torch.testing.assert_close(ready(batch)[0], expected, rtol=0, atol=1e-6)


def test_special_tokens_are_in_no_word(checkpoint):
    ready = network(checkpoint).eval()
    batch = batch_of(4)
    batch.unit_of[0, [0, -1]] = NO_UNIT
    hidden = ready.encoder(input_ids=batch.input_ids).last_hidden_state[0]
    expected = ready.head(hidden[1:-1].mean(dim=0))
    torch.testing.assert_close(ready(batch)[0, 0], expected, rtol=0, atol=1e-6)


def test_the_loss_is_the_mean_nats_of_what_is_labelled():
    logits = torch.zeros(1, 3, 5)
    logits[0, 2] = 100.0 * torch.arange(5)
    loss = nats(logits, torch.tensor([[0, 4, IGNORED]]))
    assert loss.item() == pytest.approx(np.log(5))


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_padding_does_not_change_a_text(checkpoint, pooling):
    ready = network(checkpoint, pooling=pooling).eval()
    alone, padded = ready(batch_of(4)), ready(batch_of(4, 20))
    # Sums over other shapes round differently, in the seventh digit.
    torch.testing.assert_close(alone[0], padded[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_texts_end_to_end_are_read_like_texts_that_are_padded(checkpoint, pooling):
    ready = network(checkpoint, pooling=pooling, sees_case=True).eval()
    batch = batch_of(4, 20, 9, words=True)
    end_to_end = ready(batch)
    ready.encoder.config._attn_implementation = "sdpa"  # which cannot keep texts apart
    padded = network_of(ready)(batch)
    torch.testing.assert_close(end_to_end, padded, rtol=0, atol=1e-5)


def network_of(ready):
    """The same weights in a network that finds anew how its encoder reads."""
    again = TaskNetwork(ready.encoder, num_outputs=3, pooling=ready.pooling, sees_case=True)
    again.load_state_dict(ready.state_dict())
    return again.eval()


def test_frozen_layers_are_the_lowest_and_have_no_dropout(checkpoint):
    frozen = network(checkpoint, frozen_layers=2).train()  # embeddings and the first layer
    trained = {name for name, p in frozen.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith(("encoder.encoder.layer.1.", "head.")) for name in trained)
    assert not frozen.encoder.embeddings.training
    assert not frozen.encoder.encoder.layer[0].training
    assert frozen.encoder.encoder.layer[1].training


def test_nothing_is_frozen_unless_asked(checkpoint):
    assert all(p.requires_grad for p in network(checkpoint).parameters())


def test_dropout_is_off_in_evaluation(checkpoint):
    ready = network(checkpoint, dropout=0.5).eval()
    assert torch.equal(ready(batch_of(6)), ready(batch_of(6)))


@pytest.mark.parametrize("frozen_layers", [-1, 4])
def test_more_layers_than_there_are_cannot_be_frozen(checkpoint, frozen_layers):
    with pytest.raises(ConfigError, match=r"has 2 layers and its embeddings(.|\n)*from 0 to 3"):
        network(checkpoint, frozen_layers=frozen_layers)


def test_an_unknown_pooling_is_answered_with_the_nearest(checkpoint):
    with pytest.raises(ConfigError, match=r"did you mean `mean`"):
        network(checkpoint, pooling="meen")


def test_capitals_change_nothing_until_they_are_learned(checkpoint):
    ready = network(checkpoint, sees_case=True).eval()
    torch.manual_seed(0)
    blind = network(checkpoint).eval()
    blind.head.load_state_dict(ready.head.state_dict())
    batch = batch_of(6, words=True)
    # Another path through the embeddings, with another order of sums.
    torch.testing.assert_close(ready(batch), blind(batch), rtol=0, atol=1e-6)
    torch.nn.init.normal_(ready.cases.weight)
    assert not torch.allclose(ready(batch), blind(batch), atol=1e-2)
