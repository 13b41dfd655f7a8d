import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.builders import NUM_SPECIAL, SPECIAL, tiny_tokens, tiny_vocabulary
from tests.training.objectives.pieces import V, each_alone, windows_of_pieces
from tests.training.objectives.text import draws_for
from tests.training.tiny import MODEL
from vertiform.errors import ConfigError
from vertiform.models.attention import reading
from vertiform.models.decoder import DecoderParams
from vertiform.models.loading import save_checkpoint
from vertiform.training.objectives.clm import CausalLm, NextTokenBatch

CLM = CausalLm()
DECODER = DecoderParams(
    width=32, depth=2, heads=2, feed_forward_width=64, max_tokens=32, dropout=0.1
)


def batch_of(windows) -> NextTokenBatch:
    return CLM.preparer(tiny_vocabulary(size=V))(windows, draws_for(windows), 1)


def tiny_decoder():
    torch.manual_seed(0)
    return CLM.network(DECODER, vocabulary=tiny_vocabulary(size=V)).eval()


def test_every_token_but_the_last_of_its_piece_predicts_the_next_one():
    windows = windows_of_pieces()
    batch = batch_of(windows)
    flat = torch.from_numpy(windows.ids).flatten()
    assert torch.equal(batch.labels, flat[batch.positions + 1])
    ends = batch.packing.bounds[1:] - 1
    silent = sorted(set(range(flat.numel())) - set(batch.positions.tolist()))
    assert silent == ends.tolist()
    assert SPECIAL.cls not in batch.labels
    assert SPECIAL.sep in batch.labels  # that a text is over is learned


def test_the_loss_starts_near_the_log_of_the_vocabulary():
    losses = CLM.losses(tiny_decoder(), batch_of(windows_of_pieces(repeats=4)))
    assert losses.total.item() == pytest.approx(math.log(V), rel=0.02)


def test_a_token_changes_no_logits_before_it():
    network, windows = tiny_decoder(), windows_of_pieces()
    changed = windows.ids.copy()
    changed[3, 14] = (changed[3, 14] + 1 - NUM_SPECIAL) % (V - NUM_SPECIAL) + NUM_SPECIAL
    packing = batch_of(windows).packing

    def logits_of(ids):
        read = reading(packing, network, causal=True)
        hidden = network.base_model(torch.from_numpy(ids), **read).last_hidden_state
        return network.lm_head(hidden)  # (B, T, V)

    before, after = logits_of(windows.ids), logits_of(changed)
    assert torch.equal(before[:3], after[:3])
    assert torch.equal(before[3, :14], after[3, :14])
    in_its_piece = (before[3] != after[3]).any(dim=1).nonzero().squeeze(1).tolist()
    assert in_its_piece == list(range(14, 20))  # the piece of 8 tokens from 12 on


def test_a_packed_batch_gives_each_document_the_loss_of_that_document_alone():
    network, batch = tiny_decoder(), batch_of(windows_of_pieces())
    total = 0.0
    for piece, _ in each_alone(batch):
        alone = network(input_ids=piece.input_ids, labels=piece.input_ids).loss
        assert CLM.losses(network, piece).total.item() == pytest.approx(alone.item(), rel=1e-5)
        total += alone.item() * len(piece.labels)
    nats, number = CLM.losses(network, batch).parts["nats_per_token"]
    assert number == len(batch.labels)
    assert nats.item() * number == pytest.approx(total, rel=1e-5)


def test_what_is_written_loads_in_plain_transformers(tmp_path):
    tiny_tokens(tmp_path / "tokens")
    network = tiny_decoder()
    save_checkpoint(CLM.checkpoint_of(network), tokenizer=tmp_path / "tokens", out=tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ours = CLM.loaded(tmp_path / "out", dropout=0.0)
    ids = torch.from_numpy(windows_of_pieces().ids)
    expected = network(ids).logits
    torch.testing.assert_close(again(ids).logits, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.eval()(ids).logits, expected, rtol=1e-5, atol=1e-6)
    assert again.config._attn_implementation == "sdpa"  # ours is of training, not of the file


def test_an_encoder_is_refused():
    with pytest.raises(ConfigError, match="objective=clm trains a decoder"):
        CLM.network(MODEL, vocabulary=tiny_vocabulary(size=V))
