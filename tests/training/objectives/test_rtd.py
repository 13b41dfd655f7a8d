import math
from dataclasses import replace

import pytest
import torch
from transformers import ElectraForPreTraining

from tests.builders import NUM_SPECIAL, tiny_tokens, tiny_vocabulary
from tests.training.objectives.pieces import V, each_alone, windows_of_pieces
from tests.training.objectives.test_clm import DECODER
from tests.training.objectives.text import draws_for
from tests.training.tiny import MLM, MODEL
from vertiform.errors import ConfigError
from vertiform.models.encoder import build_like, load_encoder
from vertiform.models.loading import save_checkpoint
from vertiform.models.vocabulary_loss import sampled_labels
from vertiform.training.objectives.rtd import ReplacedBatch, ReplacedTokens

RTD = ReplacedTokens(
    masked=replace(MLM, mask_fraction=1.0, random_fraction=0.0),
    generator_fraction=0.25,
    discriminator_weight=50.0,
)


def batch_of(windows, *, seed: int = 0) -> ReplacedBatch:
    return RTD.preparer(tiny_vocabulary(size=V))(windows, draws_for(windows, seed=seed), 1)


def tiny_networks():
    torch.manual_seed(0)
    return RTD.network(MODEL, vocabulary=tiny_vocabulary(size=V)).eval()


def losses_of(network, batch):
    return {name: (p.item(), n) for name, (p, n) in RTD.losses(network, batch).parts.items()}


def test_the_losses_start_near_the_logs_of_the_vocabulary_and_of_two():
    losses = RTD.losses(tiny_networks(), batch_of(windows_of_pieces(repeats=4)))
    nats, found = (losses.parts[name][0].item() for name in ("nats_per_token", "replaced_nats"))
    assert nats == pytest.approx(math.log(V), rel=0.02)
    assert found == pytest.approx(math.log(2), rel=0.05)
    assert losses.total.item() == pytest.approx(nats + 50 * found, rel=1e-5)


def test_every_ordinary_token_is_judged_and_no_special_one():
    windows = windows_of_pieces()
    batch = batch_of(windows)
    assert batch.ordinary.tolist() == (windows.ids.reshape(-1) >= NUM_SPECIAL).nonzero()[0].tolist()


def test_what_is_sampled_follows_from_the_batch_alone():
    network, windows = tiny_networks(), windows_of_pieces(repeats=4)
    torch.manual_seed(1)
    first = losses_of(network, batch_of(windows))
    torch.manual_seed(2)
    assert losses_of(network, batch_of(windows)) == first
    others = batch_of(windows)
    others = others._replace(uniform=others.uniform.flip(0))
    assert losses_of(network, others)["replaced_nats"] != first["replaced_nats"]


def test_samples_come_as_often_as_the_generator_says():
    network = tiny_networks().generator
    with torch.no_grad():
        network.generator_lm_head.bias[:] = -20.0
        network.generator_lm_head.bias[[7, 11]] = torch.tensor([0.0, math.log(3)])
    hidden = torch.zeros(4000, network.config.hidden_size)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network.generator_lm_head(network.generator_predictions(hidden[:1]))[0]
    expected = logits.softmax(dim=0)[11].item() * 4000
    drawn = sampled_labels(network, hidden, uniform)
    assert (drawn == 11).sum().item() == pytest.approx(expected, abs=5 * math.sqrt(1000))
    assert set(drawn.tolist()) == {7, 11}


def test_the_edges_of_chance_draw_tokens_of_the_vocabulary():
    network = tiny_networks().generator
    hidden = torch.randn(2, network.config.hidden_size)
    drawn = sampled_labels(network, hidden, torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert drawn.tolist() == [0, V - 1]


def test_the_discriminator_teaches_the_generator_nothing_but_embeddings():
    network = tiny_networks()
    parts = RTD.losses(network, batch_of(windows_of_pieces())).parts
    nats, found = parts["nats_per_token"][0], parts["replaced_nats"][0]
    own = [p for n, p in network.generator.named_parameters() if "embeddings." not in n]
    reached = torch.autograd.grad(found, own, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in reached)
    shared = network.discriminator.electra.embeddings.word_embeddings.weight
    assert shared is network.generator.electra.embeddings.word_embeddings.weight
    assert shared is network.generator.generator_lm_head.weight
    for loss in (nats, found):
        assert torch.autograd.grad(loss, shared, retain_graph=True)[0].abs().sum() > 0


def test_a_packed_batch_gives_each_document_the_losses_of_that_document_alone():
    network, batch = tiny_networks(), batch_of(windows_of_pieces())
    sums = dict.fromkeys(("nats_per_token", "replaced_nats"), 0.0)
    for piece, (start, end, keeps) in each_alone(batch.masked):
        judged = batch.ordinary[(batch.ordinary >= start) & (batch.ordinary < end)] - start
        alone = batch._replace(masked=piece, uniform=batch.uniform[keeps], ordinary=judged)
        for name, (nats, number) in losses_of(network, alone).items():
            sums[name] += nats * number
    for name, (nats, number) in losses_of(network, batch).items():
        assert nats * number == pytest.approx(sums[name], rel=1e-5)


def test_the_generator_is_a_quarter_as_wide_and_as_deep():
    network = tiny_networks()
    generator, discriminator = network.generator.config, network.discriminator.config
    assert (generator.hidden_size, generator.num_attention_heads) == (8, 1)
    assert generator.num_hidden_layers == discriminator.num_hidden_layers
    assert generator.embedding_size == discriminator.hidden_size == 32


def test_the_discriminator_is_written_and_fine_tuning_and_training_go_on_from_it(tmp_path):
    tiny_tokens(tmp_path / "tokens")
    network = tiny_networks()
    save_checkpoint(RTD.checkpoint_of(network), tokenizer=tmp_path / "tokens", out=tmp_path / "out")
    ids = torch.from_numpy(windows_of_pieces().ids)
    expected = network.discriminator(ids).logits
    again = ElectraForPreTraining.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(again(ids).logits, expected, rtol=1e-5, atol=1e-6)
    further = RTD.loaded(tmp_path / "out", dropout=0.0).eval()
    torch.testing.assert_close(further.discriminator(ids).logits, expected, rtol=1e-5, atol=1e-6)
    assert RTD.losses(further, batch_of(windows_of_pieces())).total.isfinite()
    encoder = load_encoder(tmp_path / "out", dropout=0.0)
    hidden = network.discriminator.electra(ids).last_hidden_state
    torch.testing.assert_close(encoder(ids).last_hidden_state, hidden, rtol=1e-5, atol=1e-5)
    assert build_like(encoder)(ids).last_hidden_state.shape == hidden.shape


def test_a_decoder_is_refused():
    with pytest.raises(ConfigError, match="objective=rtd trains an encoder"):
        RTD.network(DECODER, vocabulary=tiny_vocabulary(size=V))


@pytest.mark.parametrize("change", [{"generator_fraction": 0}, {"discriminator_weight": 0}])
def test_shares_that_cannot_be_are_refused(change):
    with pytest.raises(ConfigError, match=r"objective\.generator_fraction"):
        replace(RTD, **change)


def test_a_generator_without_width_is_refused():
    with pytest.raises(ConfigError, match="leaves a generator without width"):
        replace(RTD, generator_fraction=0.01).network(MODEL, vocabulary=tiny_vocabulary(size=V))
