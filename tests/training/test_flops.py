import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vertiform.models.encoder import EncoderParams, build_masked_lm
from vertiform.training.flops import attended_of, flops_of, peak_flops

BATCH, SEQ, VOCAB = 3, 16, 97
PARAMS = EncoderParams(
    width=32, depth=3, heads=4, feed_forward_width=80, max_tokens=SEQ, dropout=0.0
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build_masked_lm(PARAMS, vocab_size=VOCAB, pad_id=0)
    network.set_attn_implementation("eager")  # whose products PyTorch can count
    return network


def counted_by_pytorch(network) -> int:
    """FLOPs of a step forward and backward, counted as PyTorch runs each product of matrices."""
    ids = torch.randint(5, VOCAB, (BATCH, SEQ))
    with FlopCounterMode(display=False) as counter:
        network(ids).logits.sum().backward()
    return counter.get_total_flops()


def test_the_formula_counts_what_a_step_multiplies(network):
    tokens = BATCH * SEQ
    ours = flops_of(network).of(tokens=tokens, attended=tokens * SEQ, predicted=tokens)
    assert ours == counted_by_pytorch(network)


def test_a_frozen_matrix_counts_its_forward_pass_alone(network):
    before = flops_of(network).per_token
    layer = network.base_model.encoder.layer[0]
    layer.requires_grad_(False)
    frozen = sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Linear))
    assert before - flops_of(network).per_token == 4 * frozen


def test_tokens_attend_to_their_own_piece():
    assert attended_of(torch.tensor([0, 3, 4, 9], dtype=torch.int32)) == 3 * 3 + 1 + 5 * 5


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("a device of tomorrow", None),
    ],
)
def test_the_peak_goes_by_the_name_of_the_device(name, peak):
    assert peak_flops(name, precision="bf16-mixed") == peak


def test_no_peak_is_told_of_another_precision():
    assert peak_flops("NVIDIA H200", precision="32-true") is None
