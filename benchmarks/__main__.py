"""The CPU part, within 15 minutes on two cores: `python -m benchmarks [--smoke]`.

Writes reports/benchmarks.json and docs/benchmarks.md. With --f1, fine-tunes for long enough to
compare scores instead (under ten minutes), and keeps what it finds in the same report.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.measure import in_turn, row, run

TINY: dict[str, Any] = {
    "model": "encoder_tiny",
    "objective": "mlm",
    "vocab_size": 8000,
    "window_tokens": 128,
    "windows": 16,
    "steps": 100,
    "warm_steps": 20,
    "lr": 1e-3,
    "validation_windows": 128,
    "trainer": "cpu",
}
SMALL = {**TINY, "model": "encoder_small", "vocab_size": 16000, "steps": 50, "warm_steps": 10}
DECODER = {**SMALL, "model": "decoder_small", "objective": "clm", "steps": 40}
# From step 2 to 12, ten steps of 16 rows: all 160 once. Grouping by length puts the longest first,
# so that any part of an epoch would measure other texts on each side.
TEXTS: dict[str, Any] = {
    "steps": 12,
    "warm_steps": 2,
    "rows_per_step": 16,
    "train_rows": 160,
    "test_rows": 32,
    "lr": 2e-4,
    "trainer": "cpu",
}
FOR_F1 = {**TEXTS, "steps": 64, "train_rows": 512, "test_rows": 300}
TRAINER = "transformers' Trainer"


def pretraining_rows(rounds: int, scale: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of pretraining, and our loop against the one by hand."""
    tiny = in_turn("pretraining", ("ours", "peer", "by_hand"), {**TINY, **scale}, rounds=rounds)
    small = in_turn("pretraining", ("ours", "peer"), {**SMALL, **scale}, rounds=rounds)
    decoder = in_turn("pretraining", ("ours", "peer"), {**DECODER, **scale}, rounds=rounds)
    rows = [
        row(
            work,
            target=target,
            ours=found["ours"],
            peer=found["peer"],
            peer_is=TRAINER,
            same="val_loss",
        )
        for work, target, found in (
            ("mlm, encoder_tiny, vocabulary 8k", 2.5, tiny),
            ("mlm, encoder_small, vocabulary 16k", 2.0, small),
            ("clm, decoder_small", 1.4, decoder),
        )
    ]
    loop = row(
        "our loop against one by hand",
        target=0.99,
        ours=tiny["ours"],
        peer=tiny["by_hand"],
        peer_is="the same training in the shortest loop",
        same="val_loss",
    )
    return [*rows, loop]


def finetuning_rows(rounds: int, scale: dict[str, Any]) -> list[dict[str, Any]]:
    """The row of the target, against the Trainer's best flags, and one against its example."""
    sides = ("ours", "best_flags", "example")
    found = in_turn("finetuning", sides, {**TEXTS, **scale}, rounds=rounds)
    return [
        row(
            f"fine-tuning, uneven texts, {name}",
            target=target,
            ours=found["ours"],
            peer=found[side],
            peer_is=f"{TRAINER}, {flags}",
            key="texts_per_second",
        )
        for side, name, flags, target in (
            ("best_flags", "peer groups by length", "train_sampling_strategy=group_by_length", 2.5),
            ("example", "peer as its example", "as run_classification.py", None),
        )
    ]


def f1_row() -> dict[str, Any]:
    """One long run a side: the scores, and how fast they came."""
    found = in_turn("finetuning", ("ours", "best_flags"), FOR_F1, rounds=1)
    made = row(
        "fine-tuning to a score",
        target=None,
        ours=found["ours"],
        peer=found["best_flags"],
        peer_is=f"{TRAINER}, train_sampling_strategy=group_by_length",
        key="texts_per_second",
    )
    return made | {"f1_macro": [round(found[s][0]["f1_macro"], 4) for s in ("ours", "best_flags")]}


def startup_row(rounds: int) -> dict[str, Any]:
    """From the command to the end of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        spec = {"grouped": str(Path(folder))}
        run("startup", "prepare", spec)
        found = in_turn("startup", ("ours", "peer"), spec, rounds=rounds)
    return row(
        "start-up, command to first step",
        target=1.4,
        ours=found["ours"],
        peer=found["peer"],
        peer_is=TRAINER,
        key="seconds",
        less_is_better=True,
    )


def main() -> None:
    """Measure, and write the report as far as it has come after each part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few steps: does it run?")
    parser.add_argument("--f1", action="store_true", help="only compare scores of fine-tuning")
    options = parser.parse_args()
    rounds, short = (1, {"steps": 4, "warm_steps": 2}) if options.smoke else (3, {})
    if options.f1:
        report.add([f1_row()])
        return
    if Path("data/software/tokens").is_dir():
        report.add([startup_row(rounds)], smoke=options.smoke)
    else:
        print("No start-up row: `make demo` makes the tokens that `vertiform pretrain` reads.")
    report.add(pretraining_rows(rounds, short), smoke=options.smoke)
    report.add(finetuning_rows(max(1, rounds - 1), short), smoke=options.smoke)


if __name__ == "__main__":
    main()
