"""Tasks that a tiny encoder learns in a second, and that encoder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.builders import NUM_SPECIAL, SPECIAL, tiny_tokens
from vertiform.files import sha256_of, write_json
from vertiform.models.encoder import EncoderParams, build_masked_lm
from vertiform.models.loading import save_checkpoint

VOCAB_SIZE = 60
NUM_WORDS = VOCAB_SIZE - NUM_SPECIAL  # w0 to w54
ENCODER = EncoderParams(
    width=32, depth=2, heads=2, feed_forward_width=64, max_tokens=32, dropout=0.1
)
ROWS = {"train": 96, "validation": 40, "test": 40}


def tiny_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write an untrained encoder with its tokenizer, like the stage pretrain does."""
    tiny_tokens(folder / "tokens", vocab_size=VOCAB_SIZE)
    torch.manual_seed(seed)
    network = build_masked_lm(ENCODER, vocab_size=VOCAB_SIZE, pad_id=SPECIAL.pad)
    save_checkpoint(network, tokenizer=folder / "tokens", out=folder / "pretrained")
    return folder / "pretrained"


def high_or_low(number: int, *, seed: int) -> list[dict[str, Any]]:
    """Texts of words w0-w26, label "low", or w27-w54, "high"; one word in five is the other's."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(number):
        is_high = bool(rng.integers(2))
        mostly = np.where(rng.random(rng.integers(4, 14)) < 0.8, is_high, not is_high)
        words = [f"w{rng.integers(27) + 27 * high}" for high in mostly]
        label = "high" if is_high else "low"
        rows.append({"id": f"{seed}-{n}", "text": " ".join(words), "label": label, "group": "g"})
    return rows


def ones_and_twos(number: int, *, seed: int) -> list[dict[str, Any]]:
    """Words of which w0-w4 name a "one", and w5-w6 with the word after it a "two"."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(number):
        numbers = rng.integers(30, size=rng.integers(4, 14))
        tags = []
        for place, word in enumerate(numbers):
            if place and numbers[place - 1] in (5, 6) and tags[-1] == "B-two":
                tags.append("I-two")
            else:
                tags.append("B-one" if word < 5 else "B-two" if word in (5, 6) else "O")
        words = [f"w{word}" for word in numbers]
        rows.append({"id": f"{seed}-{n}", "tokens": words, "tags": tags, "group": "g"})
    return rows


def classification_task(folder: Path, **changes: Any) -> Path:
    """Write the task high_or_low; `changes` are splits' rows."""
    splits = {split: high_or_low(n, seed=s) for s, (split, n) in enumerate(ROWS.items())}
    return write_task(folder, "classification", ["high", "low"], {**splits, **changes})


def entities_task(folder: Path, **changes: Any) -> Path:
    """Write the task ones_and_twos; `changes` are splits' rows."""
    splits = {split: ones_and_twos(n, seed=s) for s, (split, n) in enumerate(ROWS.items())}
    return write_task(folder, "entities", ["one", "two"], {**splits, **changes})


def write_task(
    folder: Path, kind: str, labels: list[str], splits: dict[str, list[dict[str, Any]]]
) -> Path:
    """Write a task's folder like the stage label does."""
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    write_json(
        folder / "task.json",
        {
            "task": folder.name,
            "kind": kind,
            "labels": labels,
            "language": "en",
            "split_rule": "at random",
            "rows": {split: len(rows) for split, rows in splits.items()},
            "sha256": {split: sha256_of(folder / f"{split}.jsonl") for split in splits},
        },
    )
    return folder
