"""The loss of a vocabulary head without its logits ever standing in memory whole."""

import importlib.util
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from vertiform.errors import TrainingError

# Bytes of logits at a time. On two cores with 32 MiB of shared cache 8 to 64 MiB were within 10%;
# larger blocks fall out of the cache, smaller ones add to the gradient of the weight more often.
CPU_CHUNK_BYTES = 16 * 2**20
GPU_CHUNK_BYTES = 512 * 2**20  # bounds the memory; a GPU wants large products

logger = logging.getLogger(__name__)


def nats_of_labels(network: PreTrainedModel, hidden: Tensor, labels: Tensor) -> Tensor:
    """Return the mean nats of `labels` under the network's own vocabulary head, a scalar.

    hidden: (N, D), last hidden states at the places to predict. labels: (N,) int64. Of no labels
            it is 0, so that a batch in which nothing was selected moves nothing.
    Raises TrainingError for a network whose head is not known here.
    """
    transform, last = _head_of(network)
    if len(labels) == 0:
        return hidden.sum()
    return vocabulary_cross_entropy(transform(hidden), last.weight, last.bias, labels)


def vocabulary_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor
) -> Tensor:
    """chunked_cross_entropy, or liger's fused kernel of the same on a GPU that has it."""
    if hidden.device.type == "cuda" and _has_liger():
        from liger_kernel.transformers.functional import (  # type: ignore[missing-import]
            liger_fused_linear_cross_entropy,
        )

        return liger_fused_linear_cross_entropy(hidden, weight, labels, bias=bias)
    return chunked_cross_entropy(hidden, weight, bias, labels)


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Return F.cross_entropy(hidden @ weight.T + bias, labels), a scalar, in nats.

    hidden: (N, D). weight: (V, D). bias: (V,). labels: (N,) int64, 0 to V - 1, none ignored.
    chunk:  rows whose logits stand in memory at a time; by default as many as stay in the cache.

    The gradients are computed on the way forward, while a chunk's probabilities are at hand, as in
    Liger (Hsu et al. 2024, arXiv 2410.10989): three matrix products, one buffer of (chunk, V) that
    is used again, and no log-probabilities written. Without gradients only the first product.
    Under autocast the products are of its dtype and everything else of float32.
    """
    if len(labels) == 0:
        raise ValueError("a mean over no labels is no number")
    chunk = chunk or _default_chunk(hidden, weight)
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, labels, chunk, torch.is_grad_enabled())


@torch.no_grad()
def sampled_labels(network: PreTrainedModel, hidden: Tensor, uniform: Tensor) -> Tensor:
    """Return a token for each place, (N,) int64, drawn from the network's own vocabulary head.

    hidden:  (N, D), last hidden states at these places.
    uniform: (N,), one number in [0, 1) for each: equal ones draw equal tokens.
    """
    transform, last = _head_of(network)
    chunk = _default_chunk(hidden, last.weight)
    drawn = []
    for start in range(0, len(hidden), chunk):
        rows = slice(start, start + chunk)
        logits = last(transform(hidden[rows])).float()  # (n, V)
        # A token's share of [0, total) is its probability: the one in whose share the number falls.
        upper = logits.softmax(dim=1).cumsum(dim=1)
        place = uniform[rows, None].to(upper.dtype) * upper[:, -1:]
        drawn.append(torch.searchsorted(upper, place, right=True).squeeze(1))
    if not drawn:
        return torch.empty(0, dtype=torch.int64, device=hidden.device)
    return torch.cat(drawn).clamp_(max=len(last.weight) - 1)


def probabilities_of(network: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return what the network's own vocabulary head says, (N, V) float32: of a few places only.

    hidden: (N, D), last hidden states at these places.
    """
    transform, last = _head_of(network)
    return last(transform(hidden)).float().softmax(dim=1)


def _default_chunk(hidden: Tensor, weight: Tensor) -> int:
    limit = CPU_CHUNK_BYTES if hidden.device.type == "cpu" else GPU_CHUNK_BYTES
    return max(1, limit // (4 * len(weight)))


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden, weight, bias, labels, chunk, is_grad_enabled):  # type: ignore[bad-override]
        dtype = hidden.dtype
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
        is_needed = [is_grad_enabled and needed for needed in ctx.needs_input_grad[:3]]
        with torch.autocast(hidden.device.type, enabled=False):
            nats, grads = _nats_and_gradients(
                hidden.detach().to(dtype),
                weight.detach().to(dtype),
                None if bias is None else bias.detach().float(),
                labels,
                chunk=chunk,
                has_gradients=any(is_needed),
            )
        ctx.grads = [
            grad.to(of.dtype) if grad is not None and needed else None
            for grad, of, needed in zip(grads, (hidden, weight, bias), is_needed, strict=True)
        ]
        return nats

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor):  # type: ignore[bad-override]
        if ctx.grads is None:
            raise RuntimeError("this loss has been descended already; its gradients are gone")
        # Handed on, not kept, so that autograd may take them as they are instead of copying.
        grads, ctx.grads = ctx.grads, None
        # Asking a GPU for the scale would make the host wait for it.
        if scale.device.type != "cpu" or scale.item() != 1.0:
            for grad in grads:
                if grad is not None:
                    grad.mul_(scale)
        return *grads, None, None, None


def _nats_and_gradients(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    chunk: int,
    has_gradients: bool,
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None, Tensor | None]]:
    """The mean nats, and its gradients by hidden, weight and bias where there are to be any."""
    num_rows, vocab_size = len(hidden), len(weight)
    logits = hidden.new_empty(min(chunk, num_rows), vocab_size, dtype=torch.float32)
    nats = hidden.new_empty(num_rows, dtype=torch.float32)
    by_hidden = torch.empty_like(hidden) if has_gradients else None
    by_weight = hidden.new_zeros(weight.shape, dtype=torch.float32) if has_gradients else None
    by_bias = torch.zeros_like(bias) if has_gradients and bias is not None else None

    for start in range(0, num_rows, chunk):
        rows = slice(start, min(start + chunk, num_rows))
        of_rows = labels[rows, None]  # (n, 1)
        block = torch.mm(hidden[rows], weight.t(), **_into(logits[: rows.stop - start], hidden))
        block = block.float() if bias is None else block.float().add_(bias)  # (n, V)
        right, highest = block.gather(1, of_rows), block.amax(dim=1, keepdim=True)
        shares = torch.softmax(block, dim=1, out=block)  # in one pass, where each row is in cache
        # The highest logit's share is 1 / sum(exp(logit - highest)).
        nats[rows] = (highest - shares.amax(dim=1, keepdim=True).log() - right).squeeze(1)
        if by_hidden is not None and by_weight is not None:
            errors = shares.scatter_add_(1, of_rows, -torch.ones_like(right)).to(hidden.dtype)
            torch.mm(errors, weight, out=by_hidden[rows])
            _add_product(by_weight, errors.t(), hidden[rows])
            if by_bias is not None:
                by_bias += errors.sum(dim=0, dtype=torch.float32)

    for grad in (by_hidden, by_weight, by_bias):
        if grad is not None:
            grad.div_(num_rows)
    return nats.mean(), (by_hidden, by_weight, by_bias)


def _into(buffer: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Where a product of float32 goes; one of another dtype needs memory of its own."""
    return {"out": buffer} if hidden.dtype == buffer.dtype else {}


def _add_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == to.dtype:
        to.addmm_(left, right)
    else:
        to += left @ right


@cache
def _has_liger() -> bool:
    """Whether liger is installed; said once, as it decides how fast the run is."""
    is_installed = importlib.util.find_spec("liger_kernel") is not None
    logger.info(
        "Vocabulary loss: %s.",
        "liger's fused kernel"
        if is_installed
        else "our chunked one, as liger-kernel is not installed (pip install 'vertiform[gpu]')",
    )
    return is_installed


def _head_of(network: Any) -> tuple[Callable[[Tensor], Tensor], nn.Linear]:
    """What comes before the last linear layer of a vocabulary head, and that layer."""
    last = network.get_output_embeddings()
    if not isinstance(last, nn.Linear):
        raise _unknown_head(network)
    if hasattr(network, "cls") and hasattr(network.cls, "predictions"):  # BERT
        return network.cls.predictions.transform, last
    if hasattr(network, "generator_predictions"):  # ELECTRA
        return network.generator_predictions, last
    head = getattr(network, "lm_head", None)
    if head is last:  # GPT-2 and its kind
        return lambda hidden: hidden, last
    if head is not None and hasattr(head, "dense") and hasattr(head, "layer_norm"):  # RoBERTa
        return lambda hidden: head.layer_norm(nn.functional.gelu(head.dense(hidden))), last
    raise _unknown_head(network)


def _unknown_head(network: PreTrainedModel) -> TrainingError:
    return TrainingError(
        f"{type(network).__name__} has no vocabulary head that is known here.",
        fix="start from a checkpoint of BERT's, RoBERTa's, ELECTRA's or GPT-2's kind, or from "
        "scratch.",
    )
