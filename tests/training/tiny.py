"""A pretraining run that takes a second, for tests to repeat, break and kill."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.builders import tiny_tokens
from vertiform.batches.packed import PackedParams
from vertiform.models.encoder import EncoderParams
from vertiform.training.budget import Budget
from vertiform.training.metrics import NoSink
from vertiform.training.objectives.mlm import MaskedLm
from vertiform.training.optimizers import AdamW
from vertiform.training.pretrain import PretrainResult, pretrain
from vertiform.training.schedules import WarmupCosine
from vertiform.training.trainer import TrainerParams
from vertiform.training.workload import NO_REPLAY, Recipe, Text

MODEL = EncoderParams(width=32, depth=2, heads=2, feed_forward_width=64, max_tokens=32, dropout=0.1)
MLM = MaskedLm(
    select_fraction=0.15,
    final_select_fraction=None,
    masking="token",
    glossary=None,
    mask_fraction=0.8,
    random_fraction=0.1,
)
ADAMW = AdamW(
    lr=5e-3, beta1=0.9, beta2=0.98, epsilon=1e-6, weight_decay=0.01, gradient_clip_norm=1.0
)
COSINE = WarmupCosine(warmup_fraction=0.1, final_lr_fraction=0.1)
PACKED = PackedParams(window_tokens=16, windows_per_batch=4, max_validation_windows=12)
CPU = TrainerParams(
    accelerator="cpu",
    strategy="one",
    precision="32-true",
    compile="off",
    accumulation=1,
    threads=1,
    loader_workers=0,
    checkpoint_every_steps=4,
    keeps_last_checkpoints=2,
    log_every_steps=1,
    system_every_seconds=10,
    country_iso_code=None,
)
BUDGET = Budget(total_steps=25, validate_every_steps=10)
RECIPE: dict[str, Any] = {
    "model": MODEL,
    "objective": MLM,
    "optimizer": ADAMW,
    "schedule": COSINE,
    "batches": PACKED,
    "mixture": NO_REPLAY,
    "budget": BUDGET,
    "seed": 1,
    "monitor": "val/nats_per_token",
}


def pretrain_tiny(folder: Path, name: str = "run", **changes: Any) -> PretrainResult:
    """Pretrain on folder/tokens (made if absent) to folder/<name>.

    `changes` are fields of a Recipe, a Text, or arguments of pretrain.
    """
    if not (folder / "tokens").exists():
        tiny_tokens(folder / "tokens")
    text = Text(
        domain=changes.pop("domain", "tiny"),
        tokens=folder / "tokens",
        replay=changes.pop("replay", {}),
    )
    recipe = {field: changes.pop(field) for field in list(changes) if field in RECIPE}
    place: dict[str, Any] = {
        "start": None,
        "out": folder / name,
        "checkpoints": folder / "checkpoints",
        "fingerprint": name,
        "trainer": CPU,
        "sink": NoSink(),
        **changes,
    }
    return pretrain(Recipe(**{**RECIPE, **recipe}), text, **place)


def trainer_with(**changes: Any) -> TrainerParams:
    """CPU with other values."""
    return replace(CPU, **changes)
