"""The column of one GPU: `python -m benchmarks.gpu [--smoke] [--rounds 3]`.

Needs torch, lightning, transformers, accelerate, datasets and scikit-learn, neither MLflow, Hydra
nor DVC. Text is the demo's or the docstrings of what is installed; nothing is downloaded. --smoke
runs its smallest sizes on whatever is there, a CPU too, and keeps nothing.
"""

import argparse
from typing import Any

from benchmarks import report
from benchmarks.measure import in_turn, row

BASE: dict[str, Any] = {
    "model": "encoder_base",
    "objective": "mlm",
    "vocab_size": 30522,
    "window_tokens": 512,
    "windows": 64,
    "steps": 200,
    "warm_steps": 50,
    "lr": 3e-4,
    "validation_windows": 64,
    "trainer": "gpu",
}
DECODER = {**BASE, "model": "decoder_base", "objective": "clm", "vocab_size": 50257}
DECODER |= {"window_tokens": 1024, "windows": 32}
LARGE = {**DECODER, "model": "decoder_large", "windows": 16, "steps": 100, "warm_steps": 25}
TEXTS: dict[str, Any] = {
    "steps": 600,
    "warm_steps": 50,
    "rows_per_step": 16,
    "train_rows": 3357,
    "test_rows": 4043,
    "lr": 2e-4,
    "trainer": "gpu",
}
SMOKE = {"steps": 4, "warm_steps": 2, "trainer": "cpu"}
SMALLEST = {
    **SMOKE,
    "windows": 2,
    "window_tokens": 64,
    "vocab_size": 8000,
    "validation_windows": 32,
}
TRAINER = "transformers' Trainer, bf16"


def main() -> None:
    """Measure each row and keep it at once, so that an interrupted run loses one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="smallest sizes: does it run?")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = 1 if options.smoke else options.rounds

    def pretraining(spec: dict[str, Any], sides: tuple[str, ...]) -> dict[str, Any]:
        small = "encoder_tiny" if spec["objective"] == "mlm" else "decoder_tiny"
        used = {**spec, **SMALLEST, "model": small} if options.smoke else spec
        return in_turn("pretraining", sides, used, rounds=rounds)

    base = pretraining(BASE, ("ours", "peer", "by_hand"))
    works = [("mlm, encoder_base, length 512, bf16", 1.7, base)]
    decoder = pretraining(DECODER, ("ours", "peer"))
    works.append(("clm, decoder_base", 1.4, decoder))
    works.append(("clm, decoder_large (355 M)", None, pretraining(LARGE, ("ours", "peer"))))
    for work, target, found in works:
        made = row(work, target, found["ours"], found["peer"], peer_is=TRAINER, same="val_loss")
        report.add([made], smoke=options.smoke)
    loop = row(
        "our loop against one by hand",
        0.99,
        base["ours"],
        base["by_hand"],
        peer_is="the same training in the shortest loop",
        same="val_loss",
    )
    report.add([loop], smoke=options.smoke)

    texts = {**TEXTS, **SMOKE, "train_rows": 32, "test_rows": 8} if options.smoke else TEXTS
    texts = {**texts, "rows_per_step": 4} if options.smoke else texts
    found = in_turn("finetuning", ("ours", "best_flags"), texts, rounds=rounds)
    made = row(
        "fine-tuning, uneven texts, peer groups by length",
        3.5,
        found["ours"],
        found["best_flags"],
        peer_is=f"{TRAINER}, train_sampling_strategy=group_by_length",
        key="texts_per_second",
    )
    made["f1_macro"] = [round(found[s][0]["f1_macro"], 4) for s in ("ours", "best_flags")]
    report.add([made], smoke=options.smoke)


if __name__ == "__main__":
    main()
