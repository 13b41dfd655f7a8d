from dataclasses import replace

import pytest

from tests.training.tiny import ADAMW, MODEL
from vertiform.errors import ConfigError
from vertiform.models.encoder import build_masked_lm


def test_matrices_decay_and_vectors_do_not_and_each_parameter_is_there_once():
    network = build_masked_lm(MODEL, vocab_size=60, pad_id=0)
    matrices, vectors = ADAMW.build(network).param_groups
    assert matrices["weight_decay"] == 0.01
    assert vectors["weight_decay"] == 0.0
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    # parameters() gives the embeddings, which are the head's too, once.
    held = [id(p) for group in (matrices, vectors) for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_the_step_is_fused():
    assert ADAMW.build(build_masked_lm(MODEL, vocab_size=60, pad_id=0)).defaults["fused"]


def test_a_frozen_parameter_is_left_out():
    network = build_masked_lm(MODEL, vocab_size=60, pad_id=0)
    network.base_model.requires_grad_(False)
    held = [p for group in ADAMW.build(network).param_groups for p in group["params"]]
    assert all(p.requires_grad for p in held)


@pytest.mark.parametrize("field", ["lr", "gradient_clip_norm"])
def test_a_rate_that_trains_nothing_is_refused(field):
    with pytest.raises(ConfigError, match="must be above 0"):
        replace(ADAMW, **{field: 0.0})
