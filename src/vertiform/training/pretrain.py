"""Pretrains a language model on a domain's tokens."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from vertiform.batches.loading import BatchRange
from vertiform.batches.packed import PackedBatches, PackedParams, open_stream
from vertiform.batches.randomness import Purpose
from vertiform.batches.vocabulary import read_vocabulary
from vertiform.batches.windows import Prepare
from vertiform.corpus.manifest import Manifest, read_manifest
from vertiform.errors import ConfigError, TrainingError
from vertiform.models.encoder import (
    EncoderParams,
    build_masked_lm,
    load_masked_lm,
    save_checkpoint,
)
from vertiform.training.budget import Budget
from vertiform.training.fit import FitResult, fit
from vertiform.training.metrics import MetricSink
from vertiform.training.modules import LanguageModule, Objective
from vertiform.training.optimizers import AdamW
from vertiform.training.schedules import Schedule
from vertiform.training.trainer import TrainerParams

# Not the run's own, so that validation losses of two runs are of the same masked tokens.
VALIDATION_SEED = 0
VALIDATION_WINDOWS_PER_BATCH = 32

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What came out: `metrics` are those of the best validation, whose weights are in `out`.

    tokens: seen in training, repetitions and special tokens counted; epochs: the same in passes
    over the training split.
    """

    out: Path
    metrics: dict[str, float]
    parameters: int
    tokens: int
    epochs: float
    fit: FitResult


def pretrain(
    *,
    tokens: Path,
    out: Path,
    checkpoints: Path | None,
    fingerprint: str,
    domain: str,
    model: EncoderParams,
    start: Path | None,
    objective: Objective,
    optimizer: AdamW,
    schedule: Schedule,
    batches: PackedParams,
    budget: Budget,
    trainer: TrainerParams,
    seed: int,
    monitor: str,
    sink: MetricSink,
) -> PretrainResult:
    """Train a masked language model on `tokens` and write it to `out` in Hugging Face's format.

    start:       a checkpoint folder to go on from, whose tokenizer made `tokens`; its size then
                 counts, not `model`. None starts from scratch.
    checkpoints, fingerprint: see training.fit; a killed run goes on when it is called again.

    Equal arguments give equal weights, bit for bit, on one machine with one number of threads.
    Raises TrainingError, CorpusError or ConfigError, with nothing written to `out`.
    """
    manifest = read_manifest(tokens, domain=domain)
    torch.manual_seed(seed)  # of the weights drawn; training reseeds at each step
    network = _network(model, start=start, tokens=tokens, manifest=manifest)
    _check_window_fits(batches, network)

    total_steps = budget.steps(tokens_per_step=batches.tokens_per_batch)
    prepare = objective.preparer(read_vocabulary(tokens, manifest))
    train = replace(
        _batches(tokens, manifest, split="train", params=batches, prepare=prepare, seed=seed),
        parts=trainer.parts_per_step,
        total_steps=total_steps,
    )
    in_validation = replace(batches, windows_per_batch=VALIDATION_WINDOWS_PER_BATCH)
    validation = _batches(
        tokens, manifest, split="validation", params=in_validation, prepare=prepare, seed=None
    )
    parameters = sum(p.numel() for p in network.parameters())
    epochs = total_steps * batches.tokens_per_batch / train.stream.tokens_per_epoch
    logger.info(
        "Pretraining %s: %s parameters, %s steps of %s tokens, %.1f epochs.",
        *(domain, f"{parameters:,}", f"{total_steps:,}", f"{batches.tokens_per_batch:,}", epochs),
    )

    result = fit(
        LanguageModule(
            network=network,
            objective=objective,
            optimizer=optimizer,
            schedule=schedule,
            total_steps=total_steps,
        ),
        train_batches=lambda first: BatchRange(
            batches=train,
            first=first,
            last=total_steps * trainer.accumulation,
            workers=trainer.loader_workers,
        ),
        validation_batches=lambda: BatchRange(
            batches=validation, first=0, last=_validation_batches(validation), workers=0
        ),
        total_steps=total_steps,
        validate_every_steps=budget.validate_every_steps,
        monitor=monitor,
        mode="min",
        gradient_clip_norm=optimizer.gradient_clip_norm,
        trainer=trainer,
        seed=seed,
        checkpoints=checkpoints,
        fingerprint=fingerprint,
        sink=sink,
        what=f"pretrain {domain}",
    )
    save_checkpoint(network, tokenizer=tokens, out=out)
    return PretrainResult(
        out=out,
        metrics=result.best_metrics,
        parameters=parameters,
        tokens=total_steps * batches.tokens_per_batch,
        epochs=epochs,
        fit=result,
    )


def _network(
    model: EncoderParams, *, start: Path | None, tokens: Path, manifest: Manifest
) -> PreTrainedModel:
    if start is None:
        return build_masked_lm(
            model, vocab_size=manifest.vocab_size, pad_id=manifest.special_ids.pad
        )
    network = load_masked_lm(start, dropout=model.dropout)
    if _vocabulary(start) != _vocabulary(tokens):
        raise TrainingError(
            f"{tokens} was made by another tokenizer than that of {start}, so its ids mean other "
            "words to that checkpoint.",
            fix=f"tokenize the domain with {start} (params.yaml: domains.{manifest.domain}."
            "tokenize), or set start=null to train from scratch.",
        )
    return network


def _vocabulary(folder: Path) -> dict[str, int] | list[object]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TrainingError(
            f"{folder} has no tokenizer.json.",
            fix="name a checkpoint folder that has its tokenizer in it.",
        )
    return json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]


def _check_window_fits(batches: PackedParams, network: PreTrainedModel) -> None:
    longest = network.config.max_position_embeddings
    if batches.window_tokens > longest:
        raise ConfigError(
            f"batches.window_tokens is {batches.window_tokens}, but the model reads at most "
            f"{longest} tokens.",
            fix=f"set batches.window_tokens to {longest} or less, or raise model.max_tokens.",
        )


def _batches(
    tokens: Path,
    manifest: Manifest,
    *,
    split: str,
    params: PackedParams,
    prepare: Prepare,
    seed: int | None,
) -> PackedBatches:
    """The numbered batches of a split; without a seed, in a fixed order with fixed masks."""
    is_fixed = seed is None
    return PackedBatches(
        stream=open_stream(
            tokens, manifest, split=split, window_tokens=params.window_tokens, seed=seed
        ),
        params=params,
        prepare=prepare,
        seed=VALIDATION_SEED if is_fixed else seed,
        purpose=Purpose.VALIDATION if is_fixed else Purpose.CORRUPTION,
    )


def _validation_batches(batches: PackedBatches) -> int:
    """Batches in one pass over the split, or fewer by max_validation_windows; at least one."""
    windows = batches.stream.tokens_per_epoch // batches.params.window_tokens
    windows = min(windows, batches.params.max_validation_windows)
    return max(1, windows // batches.params.windows_per_batch)
