from itertools import pairwise

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from vertiform.batches.packing import Packing
from vertiform.errors import TrainingError
from vertiform.models import attention
from vertiform.models.attention import PACKED, READS_PACKED, reading

V = 61
SIZE = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "attn_implementation": PACKED,
    "pad_token_id": 0,
}
LLAMA = SIZE | {"num_key_value_heads": 2}  # of which two queries share one
NETWORKS = {
    "bert": (BertModel, BertConfig(**SIZE)),
    "electra": (ElectraModel, ElectraConfig(**SIZE, embedding_size=8)),
    "roberta": (RobertaModel, RobertaConfig(**SIZE | {"pad_token_id": 1})),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig(**SIZE | {"pad_token_id": 1})),
    "gpt2": (GPT2Model, GPT2Config(**SIZE)),
    "llama": (LlamaModel, LlamaConfig(**LLAMA)),
    "qwen2": (Qwen2Model, Qwen2Config(**LLAMA)),
    "qwen3": (Qwen3Model, Qwen3Config(**LLAMA, head_dim=8)),
}
IS_CAUSAL = {"gpt2", "llama", "qwen2", "qwen3"}


def network_of(kind: str):
    torch.manual_seed(0)
    make, config = NETWORKS[kind]
    return make(config).eval()


def packing_of_lengths(rows: list[list[int]]) -> Packing:
    """Pieces of these lengths in each row; every row has as many tokens."""
    lengths = torch.tensor([length for row in rows for length in row])
    return Packing(
        position_ids=torch.stack([torch.cat([torch.arange(n) for n in row]) for row in rows]),
        segment_ids=torch.stack(
            [torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in rows]
        ),
        bounds=torch.cat([torch.zeros(1), lengths.cumsum(0)]).to(torch.int32),
        longest=int(lengths.max()),
    )


WINDOWS = [[5, 5, 5, 9], [24], [1, 22, 1]]
ONE_ROW = [[3, 30, 1, 17, 21]]  # (1, N): more tokens in all than the network has positions


def ids_of(packing: Packing) -> torch.Tensor:
    shape = packing.position_ids.shape
    return torch.randint(5, V, shape, generator=torch.Generator().manual_seed(1))


def alone(network, ids: torch.Tensor, packing: Packing) -> torch.Tensor:
    """(N, D): each piece read on its own, by plain transformers."""
    flat, bounds = ids.flatten(), packing.bounds.tolist()
    read = [network(input_ids=flat[None, a:b]) for a, b in pairwise(bounds)]
    return torch.cat([each.last_hidden_state[0] for each in read])


def assert_each_piece_reads_itself_alone(network, rows, *, causal):
    packing = packing_of_lengths(rows)
    ids = ids_of(packing)
    packed = network(input_ids=ids, **reading(packing, network, causal=causal)).last_hidden_state
    expected = alone(network, ids, packing)
    torch.testing.assert_close(packed.flatten(0, 1), expected, rtol=1e-4, atol=2e-6)

    parameters = [p for p in network.parameters() if p.requires_grad]
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    for ours, theirs in zip(
        torch.autograd.grad((packed.flatten(0, 1) * weights).sum(), parameters, allow_unused=True),
        torch.autograd.grad((expected * weights).sum(), parameters, allow_unused=True),
        strict=True,
    ):
        if theirs is not None:  # the pooler has none
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [WINDOWS, ONE_ROW], ids=["windows", "one row"])
@pytest.mark.parametrize("kind", READS_PACKED)
def test_a_packed_piece_and_its_gradients_are_those_of_the_piece_alone(kind, rows):
    assert_each_piece_reads_itself_alone(network_of(kind), rows, causal=kind in IS_CAUSAL)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_mask_of_other_devices_gives_the_same(kind, monkeypatch):
    monkeypatch.setattr(attention, "_way_of", lambda *_: ("masked", "this is a test"))
    assert_each_piece_reads_itself_alone(network_of(kind), WINDOWS, causal=kind in IS_CAUSAL)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "qwen3"])
def test_under_autocast_it_is_as_near_as_bf16_allows(kind):
    network, packing = network_of(kind), packing_of_lengths(WINDOWS)
    ids = ids_of(packing)
    read = reading(packing, network, causal=kind in IS_CAUSAL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        packed = network(input_ids=ids, **read).last_hidden_state.flatten(0, 1)
    expected = alone(network, ids, packing)
    torch.testing.assert_close(packed.float(), expected, rtol=0.05, atol=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", READS_PACKED)
def test_the_kernel_of_gpus_gives_the_same_as_near_as_bf16_allows(kind):
    network, packing, causal = network_of(kind), packing_of_lengths(WINDOWS), kind in IS_CAUSAL
    ids = ids_of(packing)
    expected = alone(network, ids, packing)
    network = network.to("cuda", torch.bfloat16)
    there = Packing(*(x.cuda() if isinstance(x, torch.Tensor) else x for x in packing))
    read = reading(there, network, causal=causal)
    assert "pieces" in read
    packed = network(input_ids=ids.cuda(), **read).last_hidden_state.flatten(0, 1)
    torch.testing.assert_close(packed.float().cpu(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_without_packing_it_reads_padded_batches_as_sdpa_does(kind):
    network = network_of(kind)
    ids = ids_of(packing_of_lengths(WINDOWS))
    is_real = torch.ones_like(ids)
    is_real[0, 10:] = 0
    ours = network(input_ids=ids, attention_mask=is_real).last_hidden_state
    network.set_attn_implementation("sdpa")
    theirs = network(input_ids=ids, attention_mask=is_real).last_hidden_state
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("device", "dtype", "way"),
    [
        ("cpu", torch.float32, "by piece"),
        ("cuda", torch.float32, "masked"),
        ("mps", torch.bfloat16, "masked"),
    ],
)
def test_the_way_is_chosen_by_device_and_dtype(device, dtype, way):
    assert attention._way_of(device, dtype)[0] == way


@pytest.mark.slow
def test_the_operator_keeps_the_rules_that_compiling_relies_on():
    q, k, v = (torch.randn(20, 2, 8, requires_grad=True) for _ in range(3))
    bounds = torch.tensor([0, 7, 14, 20], dtype=torch.int32)
    torch.library.opcheck(attention._attend_by_piece, (q, k, v, bounds, False, 0.3))


def test_an_architecture_of_which_nothing_is_known_is_refused():
    network = DistilBertModel(DistilBertConfig(vocab_size=V, dim=8, n_heads=2, n_layers=1))
    with pytest.raises(TrainingError, match=r"DistilBertModel \(distilbert\) cannot read packed"):
        reading(packing_of_lengths(WINDOWS), network)
