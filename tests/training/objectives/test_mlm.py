import math
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.builders import NUM_SPECIAL, SPECIAL, tiny_vocabulary
from tests.training.objectives.pieces import LENGTHS, V, each_alone, windows_of_pieces
from tests.training.objectives.text import draws_for, text_windows, vocabulary
from tests.training.tiny import MLM, MODEL
from vertiform.batches.windows import Windows
from vertiform.errors import ConfigError
from vertiform.models.encoder import build_masked_lm
from vertiform.training.objectives.masking import MASKINGS
from vertiform.training.objectives.mlm import Corruption, MaskedBatch

VOCAB_SIZE = 1000


def windows_of(*, batch: int, seq: int, seed: int = 0) -> np.ndarray:
    """(B, T) int64 of ordinary tokens, with a CLS first and a SEP last."""
    ids = np.random.default_rng(seed).integers(NUM_SPECIAL, VOCAB_SIZE, size=(batch, seq))
    ids[:, 0], ids[:, -1] = SPECIAL.cls, SPECIAL.sep
    return ids


def corrupt(ids: np.ndarray, *, objective=MLM, seed: int = 0, progress: float = 1) -> MaskedBatch:
    windows = Windows(ids=ids)
    prepare = objective.preparer(tiny_vocabulary(size=VOCAB_SIZE))
    return prepare(windows, draws_for(windows, seed=seed), progress)


def same(one: MaskedBatch, other: MaskedBatch) -> bool:
    """Whether the two hold the same, to the last bit."""
    tensors = zip((*one[:3], *one.packing[:3]), (*other[:3], *other.packing[:3]), strict=True)
    return all(torch.equal(*pair) for pair in tensors) and one[4:] == other[4:]


def within_binomial(count: int, *, of: int, fraction: float) -> bool:
    """Within five standard deviations: one false alarm in two million."""
    return abs(count - of * fraction) < 5 * math.sqrt(of * fraction * (1 - fraction))


def tiny_network():
    torch.manual_seed(0)
    return build_masked_lm(MODEL, vocab_size=VOCAB_SIZE, pad_id=SPECIAL.pad).eval()


def test_special_tokens_are_never_selected():
    windows = windows_of(batch=64, seq=32)
    windows[:, 3], windows[:, 4] = SPECIAL.unk, SPECIAL.pad
    batch = corrupt(windows, objective=replace(MLM, select_fraction=0.9))
    assert batch.labels.min() >= NUM_SPECIAL


def test_what_is_not_selected_is_not_touched():
    windows = windows_of(batch=64, seq=32)
    batch = corrupt(windows)
    restored = batch.input_ids.clone().view(-1)
    restored[batch.positions] = batch.labels
    assert np.array_equal(restored.numpy().reshape(windows.shape), windows)


def test_the_selected_share_keeps_to_its_binomial_bounds():
    batch = corrupt(windows_of(batch=256, seq=128))
    assert within_binomial(len(batch.labels), of=256 * 126, fraction=0.15)


def test_of_the_selected_80_percent_are_masked_10_random_and_10_stay():
    batch = corrupt(windows_of(batch=512, seq=128))
    now = batch.input_ids.view(-1)[batch.positions]
    masked = int((now == SPECIAL.mask).sum())
    stayed = int((now == batch.labels).sum())
    number = len(batch.labels)
    assert within_binomial(masked, of=number, fraction=0.8)
    # A random token is the same as before once in 995.
    assert within_binomial(stayed, of=number, fraction=0.1 + 0.1 / (VOCAB_SIZE - NUM_SPECIAL))
    random = now[(now != SPECIAL.mask) & (now != batch.labels)]
    assert random.min() >= NUM_SPECIAL
    assert len(random.unique()) > 500  # drawn from the whole vocabulary


def test_the_same_draws_corrupt_alike():
    windows = windows_of(batch=8, seq=32)
    first, same, other = (corrupt(windows, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.input_ids, same.input_ids)
    assert not torch.equal(first.input_ids, other.input_ids)


@pytest.mark.parametrize("masking", ["whole_word", "span"])
def test_what_is_selected_together_is_hidden_in_one_way(tmp_path, masking):
    (tmp_path / "terms").write_text("\n".join(f"w{n} w{n + 1}" for n in range(399)))
    rule = replace(MLM, masking=masking, glossary=str(tmp_path / "terms"), select_fraction=0.3)
    windows = text_windows(windows=400, tokens=128)
    batch = rule.preparer(vocabulary())(windows, draws_for(windows), 1.0)
    now = batch.input_ids.view(-1)[batch.positions].numpy()
    labels, positions = batch.labels.numpy(), batch.positions.numpy()
    continues = ~vocabulary().starts_word[labels[1:]] & (np.diff(positions) == 1)
    continues &= positions[1:] % 128 > 0  # a window's first token is of no word before it
    is_masked = now == SPECIAL.mask
    assert continues.sum() > 1000
    assert np.array_equal(is_masked[1:][continues], is_masked[:-1][continues])
    # Words of one token and a third more, in a mean run of about four words: some 8 together.
    together = 8 if masking == "span" else 2
    assert abs(is_masked.mean() - 0.8) < 5 * math.sqrt(0.8 * 0.2 * together / len(now))
    assert abs((now == labels).mean() - 0.1) < 5 * math.sqrt(0.1 * 0.9 * together / len(now))


def test_the_share_follows_its_schedule():
    rule = replace(MLM, select_fraction=0.3, final_select_fraction=0.1)
    ids = windows_of(batch=256, seq=128)
    for progress, fraction in ((0, 0.3), (0.5, 0.2), (1, 0.1)):
        batch = corrupt(ids, objective=rule, progress=progress)
        assert within_binomial(len(batch.labels), of=256 * 126, fraction=fraction)


@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_are_together_the_batch(masking, parts):
    prepare = replace(MLM, masking=masking).preparer(vocabulary())
    windows = text_windows(windows=16, tokens=30)
    whole = prepare(windows, draws_for(windows, first=32), 0.5)
    size = 16 // parts
    cut = [Windows(ids=windows.ids[n : n + size]) for n in range(0, 16, size)]
    found = [prepare(part, draws_for(part, first=32 + n * size), 0.5) for n, part in enumerate(cut)]
    assert torch.equal(torch.cat([part.input_ids for part in found]), whole.input_ids)
    assert torch.equal(torch.cat([part.labels for part in found]), whole.labels)
    shifted = [part.positions + n * size * 30 for n, part in enumerate(found)]
    assert torch.equal(torch.cat(shifted), whole.positions)


@pytest.mark.parametrize("masking", MASKINGS)
def test_another_process_makes_the_same_batch(masking, tmp_path):
    (tmp_path / "terms").write_text("w1 w2")
    prepare = replace(MLM, masking=masking, glossary=str(tmp_path / "terms")).preparer(vocabulary())
    windows = text_windows(windows=8, tokens=64)
    assert same(prepare(windows, draws_for(windows), 1.0), _elsewhere(prepare, windows))


def _elsewhere(prepare: Corruption, windows: Windows) -> MaskedBatch:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as processes:
        sent = processes.submit(_pickled, pickle.dumps((prepare, windows))).result()
    return pickle.loads(sent)


def _pickled(sent: bytes) -> bytes:
    prepare, windows = pickle.loads(sent)
    return pickle.dumps(prepare(windows, draws_for(windows), 1.0))


def test_a_batch_says_which_tokens_belong_together_and_counts_them():
    batch = corrupt(windows_of(batch=4, seq=16))
    assert batch.packing.bounds.tolist() == [0, 16, 32, 48, 64]
    assert batch.num_tokens == batch.num_slots == 64


def test_a_batch_in_which_nothing_was_drawn_has_no_loss():
    batch = corrupt(windows_of(batch=1, seq=8), objective=replace(MLM, select_fraction=1e-9))
    assert len(batch.labels) == 0
    loss = MLM.losses(tiny_network(), batch).total
    loss.backward()
    assert loss.item() == 0


def test_the_loss_starts_near_the_log_of_the_vocabulary():
    loss = MLM.losses(tiny_network(), corrupt(windows_of(batch=32, seq=32))).total
    assert loss.item() == pytest.approx(math.log(VOCAB_SIZE), rel=0.02)


def test_the_head_over_selected_positions_gives_the_loss_of_the_head_over_all():
    network, batch = tiny_network(), corrupt(windows_of(batch=8, seq=32))
    labels = torch.full((8 * 32,), -100)
    labels[batch.positions] = batch.labels
    logits = network(batch.input_ids).logits  # (B, T, V)
    over_all = F.cross_entropy(logits.view(-1, VOCAB_SIZE), labels)
    # Matrix products of other shapes round differently in the last bits.
    assert MLM.losses(network, batch).total.item() == pytest.approx(over_all.item(), rel=1e-6)


def test_a_packed_batch_gives_each_document_the_loss_of_that_document_alone():
    windows = windows_of_pieces(repeats=4)
    rule = replace(MLM, select_fraction=0.3)
    batch = rule.preparer(tiny_vocabulary(size=V))(windows, draws_for(windows), 1.0)
    torch.manual_seed(0)
    network = rule.network(MODEL, vocabulary=tiny_vocabulary(size=V)).eval()
    pieces = [piece for piece, _ in each_alone(batch)]
    assert len(pieces) == 4 * sum(map(len, LENGTHS))
    alone = [piece for piece in pieces if len(piece.labels)]
    nats = [rule.losses(network, piece).total.item() * len(piece.labels) for piece in alone]
    expected = sum(nats) / len(batch.labels)
    # Sums in another order. Reading across pieces would be seen in the third digit.
    assert rule.losses(network, batch).total.item() == pytest.approx(expected, rel=1e-6)


def test_a_decoder_is_refused():
    with pytest.raises(ConfigError, match=r"objective=mlm trains an encoder(.|\n)*objective=clm"):
        MLM.network(object(), vocabulary=tiny_vocabulary(size=V))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_selected_share_outside_0_and_1_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"objective\.select_fraction"):
        replace(MLM, select_fraction=fraction)


def test_a_final_share_outside_0_and_1_is_refused():
    with pytest.raises(ConfigError, match=r"objective\.final_select_fraction is 1\.5"):
        replace(MLM, final_select_fraction=1.5)


def test_an_unknown_masking_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"`whole_words` is not known(.|\n)*`whole_word`"):
        replace(MLM, masking="whole_words")


def test_shares_that_exceed_the_whole_are_refused():
    with pytest.raises(ConfigError, match="do not fit within 1"):
        replace(MLM, random_fraction=0.3)
