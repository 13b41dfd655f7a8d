import numpy as np
import pytest
import torch

from tests.tasks.small import tiny_checkpoint
from vertiform.batches.examples import Example, collate
from vertiform.errors import ConfigError
from vertiform.models.encoder import load_encoder
from vertiform.tasks.network import TaskNetwork

NONE = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def network(checkpoint, **changes):
    options = {"num_outputs": 3, "pooling": "mean", "dropout": 0.1, **changes}
    return TaskNetwork(load_encoder(checkpoint, dropout=0.1), **options)


def batch_of(*lengths):
    examples = [
        Example(n, np.arange(5, 5 + length), np.arange(length) % 5, np.array(0), NONE, NONE)
        for n, length in enumerate(lengths)
    ]
    return collate(examples, range(len(lengths)), pad_id=0)


@pytest.mark.parametrize(
    ("pooling", "shape"), [("mean", (2, 3)), ("first", (2, 3)), ("none", (2, 9, 3))]
)
def test_logits_are_of_texts_or_of_tokens(checkpoint, pooling, shape):
    assert network(checkpoint, pooling=pooling)(batch_of(4, 9)).shape == shape


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_padding_does_not_change_a_text(checkpoint, pooling):
    ready = network(checkpoint, pooling=pooling).eval()
    alone, padded = ready(batch_of(4)), ready(batch_of(4, 20))
    # Sums over other shapes round differently, in the seventh digit.
    torch.testing.assert_close(alone[0], padded[0], rtol=0, atol=1e-5)


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
    ready = network(checkpoint, pooling="none").eval()
    batch = batch_of(6)
    at_first = ready(batch)
    plain = ready.head(ready.encoder(input_ids=batch.input_ids).last_hidden_state)
    torch.testing.assert_close(at_first, plain, rtol=0, atol=1e-6)  # another order of sums
    torch.nn.init.normal_(ready.cases.weight)
    assert not torch.allclose(ready(batch), at_first, atol=1e-2)


def test_a_text_is_read_without_its_capitals(checkpoint):
    assert network(checkpoint, pooling="mean").cases is None
