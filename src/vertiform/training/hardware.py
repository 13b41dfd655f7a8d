"""What pays on the device a run trains on, each choice with its reason.

A choice changes the speed of a run; of its result it changes the last bits (an order of sums), and
with bf16 or TF32 the precision, which is why each is said at the start.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from vertiform.errors import ConfigError
from vertiform.models.products import onednn_pays
from vertiform.training.distributed import place
from vertiform.training.flops import peak_flops
from vertiform.training.trainer import TrainerParams, cpu_threads

CPU_FACTS = Path("/proc/cpuinfo")

logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """What was chosen, and why."""

    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How a run uses its device.

    device:    "cpu" or "cuda".
    precision: Lightning's name for it: "32-true" or "bf16-mixed".
    compiles:  "on" or "off": torch.compile of the network's blocks.
    matmul:    torch.set_float32_matmul_precision: "high" lets products of float32 matrices run in
               TF32 (10 bits of mantissa), "highest" does not; "medium" is oneDNN on a CPU where
               it is as exact (models.products).
    threads:   CPU threads for one operation.
    peak_flops: dense FLOP/s of the device at its best in this precision; None if unknown.
    """

    device: str
    precision: Choice
    compiles: Choice
    matmul: Choice
    threads: Choice
    peak_flops: float | None

    def say(self) -> None:
        """Log each choice with its reason."""
        said = {
            "precision": self.precision,
            "torch.compile": self.compiles,
            "CPU threads": self.threads,
        }
        if self.matmul.value == "high":
            said["float32 matrix products"] = Choice("TF32", self.matmul.reason)
        if self.matmul.value == "medium":
            said["float32 matrix products"] = Choice("oneDNN", self.matmul.reason)
        for what, (value, reason) in said.items():
            logger.info("%s: %s (%s).", what, value, reason)
        if self.peak_flops is None:
            logger.info(
                "No model FLOPs utilisation is logged: what this device computes at its best in "
                "%s is not known. FLOPs per second are.",
                self.precision.value,
            )


def choose(trainer: TrainerParams) -> Choices:
    """Choose for the device that `trainer` asks for. Raises ConfigError if it is not there."""
    device = _device(trainer.accelerator)
    precision = _precision(trainer, device)
    return Choices(
        device=device,
        precision=precision,
        compiles=_compiles(trainer, device),
        matmul=_matmul(device, precision),
        threads=_threads(trainer),
        peak_flops=_peak_flops(device, precision),
    )


@contextmanager
def applied(choices: Choices) -> Iterator[None]:
    """Let torch compute as chosen inside the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(choices.matmul.value)
    try:
        with cpu_threads(int(choices.threads.value)):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def compile_blocks(network: nn.Module) -> int:
    """Compile, in place, each block of the network's stacks; return how many blocks there are.

    Equal blocks share what is compiled, so that twelve cost the time of one, and the names of the
    weights stay as they are (torchtitan compiles so too). It is compiled at the first step.
    """
    blocks = blocks_of(network)
    for block in blocks:
        block.compile()
    return len(blocks)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """What stands in the network's outermost nn.ModuleLists: the layers of a transformer."""
    stacks = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    inner = {id(each) for stack in stacks for block in stack for each in block.modules()}
    return [block for stack in stacks if id(stack) not in inner for block in stack]


def _device(accelerator: str) -> str:
    has_gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not has_gpu:
        raise ConfigError(
            "trainer.accelerator is gpu, but PyTorch sees no GPU here.",
            fix="say trainer=cpu, or install the CUDA build of PyTorch.",
        )
    return "cuda" if has_gpu and accelerator != "cpu" else "cpu"


def _precision(trainer: TrainerParams, device: str) -> Choice:
    if trainer.precision != "auto":
        return Choice(trainer.precision, "asked for by trainer.precision")
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bf16-mixed", f"{torch.cuda.get_device_name()} computes in bf16")
        return Choice("32-true", f"{torch.cuda.get_device_name()} has no bf16")
    if _has_amx():
        return Choice("bf16-mixed", "this processor has AMX, which multiplies matrices in bf16")
    return Choice("32-true", "this processor has no AMX, and without it bf16 does not pay")


def _compiles(trainer: TrainerParams, device: str) -> Choice:
    if trainer.compile != "auto":
        return Choice(trainer.compile, "asked for by trainer.compile")
    if device == "cpu":
        # 2 x 128, 4,096 tokens a step, one thread, in turns: 0.60 s a step without and 0.68 s with,
        # after 70 s of compiling (on a busy machine).
        return Choice("off", "on a processor it costs more than it gives")
    from torch.utils._triton import has_triton

    if not has_triton():
        return Choice("off", "Triton, which writes the kernels, is not installed")
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")):
        return Choice("off", "Triton needs a C compiler, and there is none")
    return Choice("on", "fused kernels read and write the GPU's memory less often")


def _matmul(device: str, precision: Choice) -> Choice:
    if device == "cuda" and precision.value == "bf16-mixed":
        return Choice("high", "what autocast leaves in float32 is sums, not products")
    if device == "cpu":
        pays, why = onednn_pays()
        return Choice("medium" if pays else "highest", why)
    return Choice("highest", "no less precise than asked for")


def _threads(trainer: TrainerParams) -> Choice:
    if trainer.threads:
        return Choice(str(trainer.threads), "asked for by trainer.threads")
    allowed, here = len(os.sched_getaffinity(0)), place().local_ranks
    if here > 1:
        return Choice(str(max(1, allowed // here)), f"a share of {allowed} cores for each process")
    return Choice(str(allowed), "every core this process may use")


def _peak_flops(device: str, precision: Choice) -> float | None:
    if device == "cpu":
        return None
    return peak_flops(torch.cuda.get_device_name(), precision=precision.value)


def _has_amx() -> bool:
    try:
        flags = CPU_FACTS.read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return " amx_bf16" in flags
