"""Products of float32 matrices on a CPU: by oneDNN where MKL leaves half of the processor unused.

MKL, which PyTorch's x86 builds multiply with, takes its AVX-512 code on Intel's processors alone.
On an AMD EPYC with AVX-512 it reaches 90 GFLOP/s a core and oneDNN, which PyTorch carries too, 185
to 215, of 2048 x 384 x 1536 as of 2048 x 128 x 512. PyTorch hands such products to oneDNN once
float32 precision is "medium", which allows oneDNN to round to bf16; it does so only where the
processor has AMX. Where it has none, products are as exact as before: 3e-7 relative to float64.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CPU_FACTS = Path("/proc/cpuinfo")
MAX_RELATIVE_ERROR = 2e-6  # of a product in float32; rounded to bf16 it is 2e-3


def onednn_pays() -> tuple[bool, str]:
    """Say whether torch.set_float32_matmul_precision("medium") is faster here and as exact; why.

    By facts and by rounding, never by a clock: a run that goes on must choose as it did before.
    """
    try:
        facts = CPU_FACTS.read_text(encoding="utf-8")
    except OSError:
        return False, "what this processor can do is not known"
    if "AuthenticAMD" not in facts or " avx512f" not in facts:
        return False, "MKL uses all of this processor"
    if not torch.backends.mkldnn.is_available():
        return False, "this build of PyTorch has no oneDNN"
    if _relative_error_of_medium() > MAX_RELATIVE_ERROR:
        return False, "oneDNN would round to bf16 here"
    return True, "oneDNN uses this processor's AVX-512, MKL does not, and both are as exact"


@contextmanager
def small_products() -> Iterator[None]:
    """Multiply by MKL inside the block: attention's many small products, which oneDNN is slow at.

    Fused attention takes 1.1 to 5 times as long while oneDNN makes its products. A GPU's are left
    as they are.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _relative_error_of_medium() -> float:
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=draw) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = left @ right
    finally:
        torch.set_float32_matmul_precision(before)
    exact = left.double() @ right.double()
    return float((found - exact).norm() / exact.norm())
