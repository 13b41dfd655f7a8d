import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.builders import NUM_SPECIAL, SPECIAL, tiny_vocabulary
from tests.training.tiny import MLM, MODEL
from vertiform.batches.randomness import Purpose
from vertiform.batches.windows import Draws, Windows
from vertiform.errors import ConfigError, TrainingError
from vertiform.models.encoder import build_masked_lm
from vertiform.training.objectives.mlm import MaskedBatch

VOCAB_SIZE = 1000


def windows_of(*, batch: int, seq: int, seed: int = 0) -> np.ndarray:
    """(B, T) int64 of ordinary tokens, with a CLS first and a SEP last."""
    ids = np.random.default_rng(seed).integers(NUM_SPECIAL, VOCAB_SIZE, size=(batch, seq))
    ids[:, 0], ids[:, -1] = SPECIAL.cls, SPECIAL.sep
    return ids


def corrupt(windows: np.ndarray, *, objective=MLM, seed: int = 0) -> MaskedBatch:
    number, tokens = windows.shape
    draws = Draws(seed=seed, purpose=Purpose.CORRUPTION, first=0, windows=number, tokens=tokens)
    prepare = objective.preparer(tiny_vocabulary(size=VOCAB_SIZE))
    return prepare(Windows(ids=windows), draws, 1.0)


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


def test_the_same_generator_corrupts_alike():
    windows = windows_of(batch=8, seq=32)
    first, same, other = (corrupt(windows, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.input_ids, same.input_ids)
    assert not torch.equal(first.input_ids, other.input_ids)


def test_a_batch_in_which_nothing_was_drawn_still_predicts_one_token():
    batch = corrupt(windows_of(batch=1, seq=8), objective=replace(MLM, select_fraction=1e-9))
    assert batch.positions.tolist() == [1]


def test_the_loss_starts_near_the_log_of_the_vocabulary():
    loss = MLM.loss(tiny_network(), corrupt(windows_of(batch=32, seq=32)))
    assert loss.item() == pytest.approx(math.log(VOCAB_SIZE), rel=0.02)


def test_the_head_over_selected_positions_gives_the_loss_of_the_head_over_all():
    network, batch = tiny_network(), corrupt(windows_of(batch=8, seq=32))
    labels = torch.full((8 * 32,), -100)
    labels[batch.positions] = batch.labels
    logits = network(batch.input_ids).logits  # (B, T, V)
    over_all = F.cross_entropy(logits.view(-1, VOCAB_SIZE), labels)
    # Matrix products of other shapes round differently in the last bits.
    assert MLM.loss(network, batch).item() == pytest.approx(over_all.item(), rel=1e-6)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_selected_share_outside_0_and_1_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"objective\.select_fraction"):
        replace(MLM, select_fraction=fraction)


def test_shares_that_exceed_the_whole_are_refused():
    with pytest.raises(ConfigError, match="do not fit within 1"):
        replace(MLM, random_fraction=0.3)


def test_a_network_without_a_vocabulary_head_is_named():
    network = tiny_network()
    del network.cls
    with pytest.raises(TrainingError, match="BertForMaskedLM has no vocabulary head"):
        MLM.loss(network, corrupt(windows_of(batch=2, seq=16)))
