import math
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForMaskedLM, BertForPreTraining

from tests.builders import SPECIAL, tiny_tokens, tiny_vocabulary
from tests.training.objectives.pieces import V, each_alone, windows_of_pairs
from tests.training.objectives.test_clm import DECODER, tiny_decoder
from tests.training.objectives.text import draws_for
from tests.training.tiny import MLM, MODEL
from vertiform.errors import ConfigError, TrainingError
from vertiform.models.encoder import build_masked_lm, load_encoder
from vertiform.models.loading import save_checkpoint
from vertiform.training.objectives.mlm_nsp import MaskedLmWithNextSentence, PairsBatch

NSP = MaskedLmWithNextSentence(masked=MLM)


def batch_of(windows, *, seed: int = 0) -> PairsBatch:
    return NSP.preparer(tiny_vocabulary(size=V))(windows, draws_for(windows, seed=seed), 1)


def tiny_bert():
    torch.manual_seed(0)
    return NSP.network(MODEL, vocabulary=tiny_vocabulary(size=V)).eval()


def test_each_whole_pair_is_found_with_what_it_is():
    windows = windows_of_pairs()
    batch = batch_of(windows)
    flat, is_next = windows.ids.reshape(-1), windows.is_next.reshape(-1)
    assert (flat[batch.pairs] == SPECIAL.cls).all()
    assert batch.follows.tolist() == (1 - is_next[batch.pairs]).tolist()  # 0 is true: transformers
    assert {0, 1} == set(batch.follows.tolist())
    assert len(batch.pairs) == (is_next >= 0).sum()


def test_what_comes_after_the_first_sep_of_a_piece_is_b():
    # The pieces of the last window: 3 tokens and no B; 9, 8 and 12 with A in five of them.
    types = batch_of(windows_of_pairs()).token_type_ids[3]
    expected = [[0] * 3, [0] * 5 + [1] * 4, [0] * 5 + [1] * 3, [0] * 5 + [1] * 7]
    assert types.tolist() == list(chain(*expected))


def test_the_losses_start_near_the_logs_of_the_vocabulary_and_of_two():
    losses = NSP.losses(tiny_bert(), batch_of(windows_of_pairs(repeats=8)))
    assert losses.parts["nats_per_token"][0].item() == pytest.approx(math.log(V), rel=0.02)
    assert losses.parts["next_sentence_nats"][0].item() == pytest.approx(math.log(2), rel=0.05)
    assert losses.total.item() == pytest.approx(sum(p.item() for p, _ in losses.parts.values()))


def test_a_packed_batch_gives_each_pair_the_losses_of_that_pair_alone():
    network, batch = tiny_bert(), batch_of(windows_of_pairs())
    tokens = pairs = 0.0
    for piece, (start, end, _) in each_alone(batch.masked):
        alone = network(
            input_ids=piece.input_ids,
            token_type_ids=batch.token_type_ids.flatten()[start:end][None],
        )
        predicted = alone.prediction_logits[0, piece.positions]
        tokens += F.cross_entropy(predicted, piece.labels, reduction="sum").item()
        for place, follows in zip(batch.pairs.tolist(), batch.follows, strict=True):
            if place == start:
                pairs += F.cross_entropy(alone.seq_relationship_logits[0], follows).item()
    parts = NSP.losses(network, batch).parts
    nats, number = parts["nats_per_token"]
    assert nats.item() * number == pytest.approx(tokens, rel=1e-5)
    nats, number = parts["next_sentence_nats"]
    assert nats.item() * number == pytest.approx(pairs, rel=1e-5)


def test_a_batch_without_a_whole_pair_has_the_other_loss_alone():
    windows = windows_of_pairs()
    windows.is_next[:] = -1
    losses = NSP.losses(tiny_bert(), batch_of(windows))
    nats, number = losses.parts["next_sentence_nats"]
    assert (nats.item(), number) == (0.0, 0)
    assert losses.total.item() == losses.parts["nats_per_token"][0].item()


def test_what_is_written_loads_with_both_heads_with_one_and_with_none(tmp_path):
    tiny_tokens(tmp_path / "tokens")
    network = tiny_bert()
    save_checkpoint(NSP.checkpoint_of(network), tokenizer=tmp_path / "tokens", out=tmp_path / "out")
    ids = torch.from_numpy(windows_of_pairs().ids)
    expected = network(ids)
    for again in (
        BertForPreTraining.from_pretrained(tmp_path / "out"),
        NSP.loaded(tmp_path / "out", dropout=None),
    ):
        given = again.eval()(ids)
        for name in ("prediction_logits", "seq_relationship_logits"):
            torch.testing.assert_close(given[name], expected[name], rtol=1e-5, atol=1e-6)
    masked = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(masked(ids).logits, expected.prediction_logits, rtol=1e-5, atol=1e-6)
    assert load_encoder(tmp_path / "out")(ids).last_hidden_state.shape == (*ids.shape, 32)


def test_a_checkpoint_without_the_second_head_gets_a_new_one(tmp_path):
    tiny_tokens(tmp_path / "tokens")
    network = build_masked_lm(MODEL, vocab_size=V, pad_id=SPECIAL.pad)
    save_checkpoint(network, tokenizer=tmp_path / "tokens", out=tmp_path / "out")
    losses = NSP.losses(NSP.loaded(tmp_path / "out", dropout=0.0), batch_of(windows_of_pairs()))
    assert losses.parts["next_sentence_nats"][0].item() == pytest.approx(math.log(2), rel=0.1)


def test_a_decoder_is_refused():
    with pytest.raises(ConfigError, match="objective=mlm_nsp trains an encoder"):
        NSP.network(DECODER, vocabulary=tiny_vocabulary(size=V))


def test_a_checkpoint_of_another_kind_is_named(tmp_path):
    tiny_tokens(tmp_path / "tokens")
    save_checkpoint(tiny_decoder(), tokenizer=tmp_path / "tokens", out=tmp_path / "out")
    with pytest.raises(TrainingError, match=r"kind `gpt2`, and objective=mlm_nsp goes on from"):
        NSP.loaded(tmp_path / "out", dropout=None)
