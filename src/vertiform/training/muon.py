"""Muon (Jordan et al. 2024): momentum made orthogonal, for the matrices inside a network.

torch.optim.Muon orthogonalises in bfloat16, one matrix after another, which is slow where the
processor has no bfloat16: for a 2 x 128 encoder on a CPU it added 14% to a step. Here matrices of
one shape go together, in the gradient's own precision on a CPU and in bfloat16 on a GPU.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Of the quintic iteration x -> ax + b(xx')x + c(xx')^2x; they spread singular values over about
# 0.7 to 1.2 rather than to 1, which costs nothing in the result (Jordan et al. 2024).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class Muon(Optimizer):
    """Steps matrices by their orthogonalised momentum. Each parameter is a matrix."""

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; return the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append(matrix)
            for matrices in by_shape.values():
                self._step_together(matrices, group)
        return loss

    def _step_together(self, matrices: Sequence[Tensor], group: dict[str, Any]) -> None:
        """Step matrices of one shape."""
        looked_ahead = []
        for matrix in matrices:
            assert matrix.grad is not None
            state = self.state[matrix]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(matrix)
            state["momentum"].lerp_(matrix.grad, 1 - group["momentum"])
            looked_ahead.append(matrix.grad.lerp(state["momentum"], group["momentum"]))  # Nesterov
        rows, columns = matrices[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for matrix, update in zip(matrices, orthogonal(torch.stack(looked_ahead)), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.add_(update, alpha=-rate)


class Together(Optimizer):
    """Several optimisers of different parameters as one: what Lightning steps, saves and loads."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self._parts = tuple(parts)
        super().__init__([p for part in parts for g in part.param_groups for p in g["params"]], {})
        # The parts' own groups, not copies: a schedule that sets a rate here sets it there.
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Step every part; return the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """One state for each part."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what state_dict gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices, roughly. matrices: (N, rows, columns)."""
    a, b, c = NEWTON_SCHULZ
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    if x.is_cuda:
        x = x.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value over 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).to(matrices.dtype)
