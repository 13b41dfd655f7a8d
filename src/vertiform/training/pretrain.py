"""Pretrains a language model on a domain's tokens."""

import logging
from dataclasses import dataclass
from pathlib import Path

from vertiform.batches.loading import BatchRange
from vertiform.evaluation import names
from vertiform.models.loading import save_checkpoint
from vertiform.training.distributed import is_first_rank, place
from vertiform.training.fit import FitResult, fit
from vertiform.training.goal import Goal
from vertiform.training.metrics import MetricSink
from vertiform.training.modules import LanguageModule
from vertiform.training.pruning import Judge
from vertiform.training.timing import STEPS, steps_of
from vertiform.training.trainer import TrainerParams
from vertiform.training.workload import Recipe, Text, Workload, build_workload

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What came out: `metrics` are those of the best validation, whose weights are in `out`.

    tokens: seen in training, repetitions and special tokens counted; epochs: the same in passes
    over the training split. shares: of the windows, by domain, where others were replayed.
    """

    out: Path
    metrics: dict[str, float]
    parameters: int
    tokens: int
    epochs: float
    shares: dict[str, float]
    fit: FitResult


def pretrain(
    recipe: Recipe,
    text: Text,
    *,
    start: str | Path | None,
    out: Path,
    checkpoints: Path | None,
    fingerprint: str,
    trainer: TrainerParams,
    sink: MetricSink,
    judge: Judge | None = None,
) -> PretrainResult:
    """Train a language model as `recipe` says and write it to `out` in Hugging Face's format.

    start:       a checkpoint to go on from (training.starts), whose tokenizer made the tokens; its
                 size then counts, not the recipe's. None starts from scratch.
    checkpoints, fingerprint, judge: see training.fit; a killed run goes on when it is called again.

    Equal arguments give equal weights, bit for bit, on one machine with one number of threads.
    Raises TrainingError, CorpusError, ConfigError or Pruned, with nothing written to `out`.
    """
    workload = build_workload(recipe, text, start=start)
    tokens_per_step = recipe.batches.tokens_per_batch
    kept = checkpoints / fingerprint / STEPS if checkpoints else None
    steps = steps_of(workload, recipe, trainer=trainer, kept=kept)
    epochs = steps * tokens_per_step / workload.tokens_per_epoch
    shares = workload.achieved_shares(windows=steps * recipe.batches.windows_per_batch)
    logger.info(
        "Pretraining %s: %s parameters, %s steps of %s tokens, %.1f epochs.",
        text.domain,
        *(f"{n:,}" for n in (workload.parameters, steps, tokens_per_step)),
        epochs,
    )
    result = _fit(
        workload,
        recipe,
        steps=steps,
        trainer=trainer,
        checkpoints=checkpoints,
        fingerprint=fingerprint,
        sink=sink,
        what=f"pretrain {text.domain}",
        judge=judge,
    )
    if shares:
        sink.log_points({names.share_of(n): share for n, share in shares.items()}, step=steps)
    if is_first_rank():
        network = recipe.objective.checkpoint_of(workload.network)
        save_checkpoint(network, tokenizer=text.tokens, out=out)
    return PretrainResult(
        out=out,
        metrics=result.best_metrics,
        parameters=workload.parameters,
        tokens=steps * tokens_per_step,
        epochs=epochs,
        shares=shares,
        fit=result,
    )


def _fit(
    workload: Workload,
    recipe: Recipe,
    *,
    steps: int,
    trainer: TrainerParams,
    checkpoints: Path | None,
    fingerprint: str,
    sink: MetricSink,
    what: str,
    judge: Judge | None,
) -> FitResult:
    """Train the network in place; it ends with its best weights."""
    module = LanguageModule(
        network=workload.network,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        total_steps=steps,
        validated_on=tuple(workload.validation),
        shown=workload.shown(),
        vocabulary=workload.vocabulary,
    )
    train, own = workload.training(parts=trainer.parts_per_step, steps=steps), place()
    return fit(
        module,
        train_batches=lambda first: BatchRange(
            batches=train,
            first=first,
            last=steps * trainer.accumulation,
            workers=trainer.loader_workers,
            rank=own.rank,
            ranks=own.ranks,
        ),
        validation_batches=workload.validating,
        goal=Goal(
            total_steps=steps,
            validate_every_steps=recipe.budget.validate_every_steps,
            monitor=recipe.monitor,
            mode="min",
            gradient_clip_norm=recipe.optimizer.gradient_clip_norm,
        ),
        trainer=trainer,
        seed=recipe.seed,
        checkpoints=checkpoints,
        fingerprint=fingerprint,
        sink=sink,
        what=what,
        judge=judge,
        step_flops=recipe.objective.step_flops(workload.network),
    )
