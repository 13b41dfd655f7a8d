"""Model FLOPs: what the mathematics of a step takes, whatever a device really computes.

Per token, 6 N + 12 L H Q T (PaLM: Chowdhery et al. 2022, appendix B; the first term is that of
Kaplan et al. 2020): N weights of the matrices that a token is multiplied by, 2 FLOPs each forward
and 4 backward; L layers, H heads of Q numbers each, and T tokens that a token attends to, by the
scores and by the sum they weigh.

Counted is what has to be computed. T is the tokens of the piece a token is in, not of the window
(pieces of a packed window do not read each other), with no discount for a causal mask, as in PaLM.
The vocabulary head counts for the positions that are predicted. A frozen matrix counts its forward
pass alone. Embeddings are looked up, not multiplied; norms, biases, softmax and the optimiser are
left out, as in the figures others publish, and so is a pooler, which sees one token a text.

Model FLOPs utilisation (MFU) is these FLOPs per second, over the peak of the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vertiform.batches.packing import Packing

# Dense FLOP/s in bf16 by name of the GPU (the names are torch.cuda.get_device_name's, the longer
# ones first), from NVIDIA's data sheets, which give twice as much for matrices half empty.
PEAK_BF16_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,  # SXM: "NVIDIA H100 80GB HBM3"
    "A100": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
}


@dataclass(frozen=True, kw_only=True)
class ModelFlops:
    """FLOPs of a training step of one network.

    per_token:     of the matrices of the layers.
    per_predicted: of the head, for each position that it runs over.
    per_attended:  12 L H Q, for each token and token it attends to.
    """

    per_token: int
    per_predicted: int
    per_attended: int

    def of(self, *, tokens: int, attended: int, predicted: int) -> float:
        """Return the FLOPs of a batch.

        attended:  sum, over the tokens, of how many each attends to (attended_of).
        predicted: positions that the head runs over.
        """
        return float(
            self.per_token * tokens + self.per_attended * attended + self.per_predicted * predicted
        )


def flops_of(network: Any) -> ModelFlops:
    """Count the weights of a transformers network: its base model, and the head around it."""
    layers = network.base_model
    config = network.config
    of_layers = {id(module) for module in layers.modules()}
    pooler = getattr(layers, "pooler", None)
    of_pooler = {id(module) for module in pooler.modules()} if pooler is not None else set()
    per_token = sum(_flops_a_row(m) for m in _matrices(layers) if id(m) not in of_pooler)
    per_predicted = sum(_flops_a_row(m) for m in _matrices(network) if id(m) not in of_layers)
    return ModelFlops(
        per_token=per_token,
        per_predicted=per_predicted,
        per_attended=12 * config.num_hidden_layers * config.hidden_size,
    )


def of_windows(model: ModelFlops, packing: Packing, *, predicted: int) -> float:
    """Return the FLOPs of packed windows in host memory; `predicted` positions are predicted."""
    return model.of(
        tokens=packing.position_ids.numel(),
        attended=attended_of(packing.bounds),
        predicted=predicted,
    )


def attended_of(bounds: Tensor) -> int:
    """Sum, over the tokens of packed pieces, how many tokens each attends to: its own piece's.

    bounds: (S + 1,) in host memory, where each piece starts, and the end (batches.packing).
    """
    lengths = bounds.long().diff()
    return int((lengths * lengths).sum())


def peak_flops(device_name: str, *, precision: str) -> float | None:
    """Return the dense FLOP/s of a device at its best, or None where no figure is known."""
    if precision != "bf16-mixed":
        return None
    known = (peak for name, peak in PEAK_BF16_FLOPS.items() if name in device_name)
    return next(known, None)


def _matrices(network: nn.Module) -> Iterator[nn.Module]:
    """Modules that multiply by a matrix: linear layers, and GPT-2's own kind of them."""
    for module in network.modules():
        weight = getattr(module, "weight", None)
        is_looked_up = isinstance(module, nn.Embedding)
        if isinstance(weight, nn.Parameter) and weight.ndim == 2 and not is_looked_up:
            yield module


def _flops_a_row(module: nn.Module) -> int:
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    return weight.numel() * (6 if weight.requires_grad else 2)
