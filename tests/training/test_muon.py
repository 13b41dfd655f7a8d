from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.training.tiny import MODEL
from vertiform.errors import ConfigError
from vertiform.models.encoder import build_masked_lm
from vertiform.training.muon import Muon as MuonSteps
from vertiform.training.muon import orthogonal
from vertiform.training.optimizers import Muon

MUON = Muon(
    lr=3e-3,
    matrix_lr=0.02,
    momentum=0.95,
    beta1=0.9,
    beta2=0.98,
    epsilon=1e-6,
    weight_decay=0.01,
    gradient_clip_norm=1.0,
)


def network_with_gradients(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = build_masked_lm(MODEL, vocab_size=60, pad_id=0)
    give_gradients(network, seed=seed)
    return network


def give_gradients(network: nn.Module, *, seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=drawn)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (16, 4)])
def test_an_update_has_singular_values_near_one(shape):
    drawn = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    singular = torch.linalg.svdvals(orthogonal(drawn))
    assert singular.min() > 0.3
    assert singular.max() < 1.4


def test_a_step_is_that_of_torch_within_its_bfloat16():
    drawn = torch.Generator().manual_seed(2)
    ours = [nn.Parameter(torch.randn(s, generator=drawn)) for s in [(8, 8), (16, 8), (8, 16)]]
    peers = [nn.Parameter(p.detach().clone()) for p in ours]
    mine = MuonSteps(ours, lr=0.02, momentum=0.95, weight_decay=0.1)
    peer = torch.optim.Muon(peers, lr=0.02, momentum=0.95, weight_decay=0.1)
    for _ in range(3):
        for a, b in zip(ours, peers, strict=True):
            a.grad = torch.randn(a.shape, generator=drawn)
            b.grad = a.grad.clone()
        mine.step()
        peer.step()
    for a, b in zip(ours, peers, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02 * 3 * 0.05)  # bfloat16 has 8 bits


def test_matrices_are_muons_embeddings_and_heads_are_not_and_each_parameter_is_there_once():
    network = network_with_gradients()
    groups = MUON.build(network).param_groups
    by_muon = {id(p) for group in groups if "momentum" in group for p in group["params"]}
    named = {id(p): name for name, p in network.named_parameters()}
    assert {named[p].split(".")[-2] for p in by_muon} == {"query", "key", "value", "dense"}
    assert len(by_muon) == 2 * 6 + 1  # of each layer, and of the head before its tied vocabulary
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_going_on_from_a_saved_state_steps_as_if_never_stopped():
    whole, cut = network_with_gradients(), network_with_gradients()
    optimizer, before = MUON.build(whole), MUON.build(cut)
    optimizer.step()
    before.step()
    after = MUON.build(cut)
    after.load_state_dict(before.state_dict())
    for network, its in ((whole, optimizer), (cut, after)):
        give_gradients(network, seed=5)
        its.step()
    for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_schedule_sets_the_rate_of_both_parts():
    optimizer = MUON.build(network_with_gradients())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.0015, 0.0015]


def test_a_network_without_layers_is_refused():
    with pytest.raises(ConfigError, match="no matrices for Muon"):
        MUON.build(nn.Linear(2, 2))


@pytest.mark.parametrize("field", ["lr", "matrix_lr", "gradient_clip_norm"])
def test_a_rate_that_trains_nothing_is_refused(field):
    with pytest.raises(ConfigError, match="must be above"):
        replace(MUON, **{field: 0.0})
