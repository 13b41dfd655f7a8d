"""Fine-tunes a labelled task from one start; several starts are compared on validation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vertiform.batches.examples import GroupedBatches, GroupedParams, OrderedBatches
from vertiform.batches.loading import BatchRange
from vertiform.errors import ConfigError, did_you_mean
from vertiform.evaluation import names
from vertiform.tasks.bundle import Bundle, BundleFacts, write_bundle
from vertiform.tasks.calibration import fit_temperature
from vertiform.tasks.network import TaskNetwork
from vertiform.tasks.outputs import row_logits
from vertiform.tasks.rows import Row, TaskData
from vertiform.tasks.task import Task, scores_of, task_of
from vertiform.training.distributed import is_first_rank, place
from vertiform.training.fit import FitResult, fit
from vertiform.training.goal import Goal
from vertiform.training.metrics import MetricSink
from vertiform.training.optimizers import AdamW
from vertiform.training.pruning import Judge
from vertiform.training.schedules import Schedule
from vertiform.training.starts import Start, load_start
from vertiform.training.task_module import TaskModule, TwoRates
from vertiform.training.trainer import TrainerParams, cpu_threads

VALIDATION_EXAMPLES_PER_BATCH = 32

_CALIBRATION = {
    "classification": names.on("validation", names.CALIBRATION_ERROR),
    "entities": names.on("validation", names.ENTITY_CALIBRATION_ERROR),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every start of a comparison shares.

    monitor: the validation score whose best weights are kept, and by which starts are compared.
    """

    max_tokens: int
    batches: GroupedParams
    optimizer: AdamW
    schedule: Schedule
    validate_every_epochs: int
    monitor: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """What came out of one start.

    metrics: scores of the validation split by the bundle as it is served, and VAL_LOSS_NATS.
    calibration_error_before: the same split's, without the temperature.
    seconds: of everything, loading and scoring too.
    """

    start: str
    bundle: Path
    metrics: dict[str, float]
    calibration_error_before: float
    temperature: float
    parameters: int
    trained_parameters: int
    fit: FitResult
    seconds: float


def finetune(
    data: TaskData,
    *,
    name: str,
    start: Start,
    recipe: Recipe,
    pretrained: Path,
    out: Path,
    checkpoints: Path | None,
    fingerprint: str,
    trainer: TrainerParams,
    sink: MetricSink,
    judge: Judge | None = None,
) -> FinetuneResult:
    """Train a network for a task from one start, and write it to the folder `out` (tasks.bundle).

    name:       of the start, for people.
    pretrained: the folder that pretraining wrote; the starts "new" and "domain" need it.
    checkpoints, fingerprint, judge: see training.fit; a killed run goes on when it is called again.

    Equal arguments give equal weights, bit for bit, on one machine with one number of threads.
    Raises TrainingError, CorpusError, ConfigError or Pruned, with nothing written to `out`.
    """
    started = time.monotonic()
    task = task_of(data.kind, data.labels)
    _check_monitor(recipe.monitor, kind=data.kind)
    if trainer.strategy != "one":
        raise ConfigError(
            f"trainer.strategy is {trainer.strategy}, but fine-tuning trains in one process.",
            fix="say trainer=cpu or trainer=gpu, and start it without a launcher.",
        )
    with cpu_threads(trainer.threads):
        torch.manual_seed(recipe.seed)  # of the weights drawn; training reseeds at each step
        encoder, tokenizer = load_start(start, pretrained=pretrained)
        network = TaskNetwork(
            encoder,
            num_outputs=len(task.outputs),
            pooling=start.pooling,
            sees_case=task.labels_each_word,
            dropout=start.dropout,
            frozen_layers=start.frozen_layers,
        )
        encoding = {
            "tokenizer": tokenizer,
            "max_tokens": min(recipe.max_tokens, encoder.config.max_position_embeddings),
        }
        fitted = _fit(
            data,
            task=task,
            network=network,
            encoding=encoding,
            recipe=recipe,
            epochs=start.epochs,
            optimizer=TwoRates(
                encoder=replace(recipe.optimizer, lr=start.lr),
                added=replace(recipe.optimizer, lr=start.head_lr),
            ),
            checkpoints=checkpoints,
            fingerprint=fingerprint,
            trainer=trainer,
            sink=sink,
            what=f"finetune {data.name} from {name}",
            judge=judge,
        )
        rows = data.splits["validation"]
        logits = row_logits(rows, task=task, network=network.eval(), **encoding)
    temperature = fit_temperature(logits, [task.targets(row) for row in rows])
    raw = _scores(task, rows, logits, temperature=1.0)
    metrics = {
        **_scores(task, rows, logits, temperature=temperature),
        names.VAL_LOSS_NATS: fitted.best_metrics[names.VAL_LOSS_NATS],
    }
    facts = BundleFacts(
        task=data.name,
        kind=data.kind,
        labels=data.labels,
        language=data.language,
        split_rule=data.split_rule,
        start=name,
        pooling=network.pooling,
        max_tokens=encoding["max_tokens"],
        temperature=temperature,
        validation=metrics,
        task_sha256=dict(data.sha256),
    )
    if is_first_rank():
        write_bundle(out, Bundle(network=network, tokenizer=tokenizer, facts=facts))
    return FinetuneResult(
        start=name,
        bundle=out,
        metrics=metrics,
        calibration_error_before=raw.get(_CALIBRATION[data.kind], 0.0),
        temperature=temperature,
        parameters=sum(p.numel() for p in network.parameters()),
        trained_parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        fit=fitted,
        seconds=time.monotonic() - started,
    )


def _fit(
    data: TaskData,
    *,
    task: Task,
    network: TaskNetwork,
    encoding: dict[str, Any],
    recipe: Recipe,
    epochs: int,
    optimizer: TwoRates,
    trainer: TrainerParams,
    **kept: Any,
) -> FitResult:
    """Train `network` in place; it ends with its best weights. kept: passed on to training.fit."""
    pad_id = encoding["tokenizer"].pad_token_id
    train = GroupedBatches(
        examples=task.encode(data.splits["train"], **encoding),
        params=recipe.batches,
        pad_id=pad_id,
        seed=recipe.seed,
        parts=trainer.parts_per_step,
    )
    rows = data.splits["validation"]
    examples = task.encode(rows, **encoding)
    total_steps, own = epochs * train.steps_per_epoch, place()
    module = TaskModule(
        network=network,
        task=task,
        validation_rows=rows,
        validation_examples=examples,
        optimizer=optimizer,
        schedule=recipe.schedule,
        total_steps=total_steps,
    )
    return fit(
        module,
        train_batches=lambda first: BatchRange(
            batches=train,
            first=first,
            last=total_steps * trainer.accumulation,
            workers=trainer.loader_workers,
            rank=own.rank,
            ranks=own.ranks,
        ),
        validation_batches=lambda: OrderedBatches(
            examples=examples, examples_per_batch=VALIDATION_EXAMPLES_PER_BATCH, pad_id=pad_id
        ),
        goal=Goal(
            total_steps=total_steps,
            validate_every_steps=recipe.validate_every_epochs * train.steps_per_epoch,
            monitor=recipe.monitor,
            mode="min" if names.is_lower_better(recipe.monitor) else "max",
            gradient_clip_norm=recipe.optimizer.gradient_clip_norm,
        ),
        trainer=trainer,
        seed=recipe.seed,
        **kept,
    )


def _scores(
    task: Task, rows: Sequence[Row], logits: Sequence[np.ndarray], *, temperature: float
) -> dict[str, float]:
    predictions = [task.decode(of_row, temperature=temperature) for of_row in logits]
    return scores_of(task, rows, predictions, split="validation")


def _check_monitor(monitor: str, *, kind: str) -> None:
    known = [names.on("validation", score) for score in names.SCORES[kind]]
    if monitor not in known:
        raise ConfigError(
            f"monitor `{monitor}` is no score of a task of kind {kind}.",
            fix=did_you_mean(monitor, known),
        )
