"""Says what a pretraining run would take on this machine, before it is started."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from vertiform.training.callbacks.progress import in_words
from vertiform.training.hardware import Choices, choose
from vertiform.training.timing import (
    Measured,
    check_measurable,
    flops_per_step,
    measure,
    seconds_with_validation,
)
from vertiform.training.trainer import TrainerParams
from vertiform.training.workload import Recipe, Text, build_workload

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run comes to.

    parameters_without_embeddings: the tables that tokens and positions are looked up in left out.
    tokens, epochs, shares:        as PretrainResult counts them.
    flops:                         model FLOPs of all training steps (training.flops).
    validations:                   how often the run is validated.
    measured:                      by a few steps in one process.
    seconds:                       of all steps and validations, in one process.
    """

    domain: str
    parameters: int
    parameters_without_embeddings: int
    steps: int
    tokens: int
    epochs: float
    flops: float
    shares: dict[str, float]
    validations: int
    measured: Measured
    seconds: float
    strategy: str
    choices: Choices

    def rendered(self) -> str:
        """Return aligned lines, for people."""
        lines = list(self._lines())
        width = max(len(name) for name, _ in lines)
        return "\n".join(
            [f"Plan of pretraining {self.domain}", *(f"  {n:{width}}  {v}" for n, v in lines)]
        )

    def _lines(self) -> Iterator[tuple[str, str]]:
        within = f"{self.parameters_without_embeddings:,} without embeddings"
        yield "parameters", f"{self.parameters:,}, {within}"
        yield "steps", f"{self.steps:,} of {self.tokens // self.steps:,} tokens"
        yield "tokens", f"{self.tokens:,}, {self.epochs:.2f} epochs"
        if self.shares:
            shares = ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items())
            yield "windows", shares
        yield "model FLOPs", f"{self.flops:.3g}, {self.flops / self.steps:.3g} a step"
        yield from self._measured_lines()
        for what, choice in {
            "precision": self.choices.precision,
            "torch.compile": self.choices.compiles,
            "CPU threads": self.choices.threads,
            "products": self.choices.matmul,
        }.items():
            yield what, f"{choice.value} ({choice.reason})"

    def _measured_lines(self) -> Iterator[tuple[str, str]]:
        measured, device = self.measured, self.choices.device
        for what, size in {
            "weights": measured.weights_bytes,
            "gradients": measured.gradients_bytes,
            "optimizer": measured.optimizer_bytes,
        }.items():
            yield what, f"{size / MIB:,.1f} MiB"
        whose = "of tensors" if device == "cuda" else "of this process, program included"
        yield "memory", f"{measured.peak_bytes / MIB:,.0f} MiB {whose}, at most"
        yield "device", device if self.strategy == "one" else f"{device}, in one process of many"
        speed = self.tokens / self.steps / measured.seconds_per_step
        yield "step", f"{measured.seconds_per_step:.3g} s, {speed:,.0f} tokens/s"
        if self.choices.peak_flops:
            share = self.flops / self.steps / measured.seconds_per_step / self.choices.peak_flops
            yield "utilisation", f"{share:.1%} of the device's FLOP/s at its best"
        yield "validation", f"{measured.seconds_per_validation:.3g} s, {self.validations:,} times"
        yield "in all", in_words(self.seconds)


def plan(recipe: Recipe, text: Text, *, start: str | Path | None, trainer: TrainerParams) -> Plan:
    """Say what training.pretrain.pretrain would take with these arguments. Writes nothing.

    Raises what pretrain raises. Of a run in several processes, what one of them took alone is said,
    with the whole batch of a step for itself.
    """
    check_measurable(recipe, trainer)
    workload = build_workload(recipe, text, start=start)
    measured = measure(workload, recipe, trainer=trainer)
    per_step = flops_per_step(workload, recipe)
    steps = recipe.budget.steps(
        tokens_per_step=recipe.batches.tokens_per_batch,
        flops_per_step=lambda: per_step,
        seconds_per_step=lambda: seconds_with_validation(measured, recipe),
    )
    tokens = steps * recipe.batches.tokens_per_batch
    every = recipe.budget.validate_every_steps
    return Plan(
        domain=text.domain,
        parameters=workload.parameters,
        parameters_without_embeddings=workload.parameters - _looked_up(workload.network),
        steps=steps,
        tokens=tokens,
        epochs=tokens / workload.tokens_per_epoch,
        flops=steps * per_step,
        shares=workload.achieved_shares(windows=steps * recipe.batches.windows_per_batch),
        validations=-(-steps // every),
        measured=measured,
        seconds=measured.seconds_of(steps=steps, validate_every_steps=every),
        strategy=trainer.strategy,
        choices=choose(trainer),
    )


def _looked_up(network: nn.Module) -> int:
    """Numbers in the tables of embeddings; one that two networks share is counted once."""
    tables = {m.weight for m in network.modules() if isinstance(m, nn.Embedding)}
    return sum(table.numel() for table in tables)
