"""Register a released model in MLflow, with its proof."""

import argparse
from pathlib import Path

from vertiform.cli.compose import read_composed
from vertiform.cli.register import run_register
from vertiform.doors import exit_on_user_error
from vertiform.tracking.receipts import write_receipt

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.register", description=__doc__)
    for name in (
        "config",
        "tasks",
        "tokens",
        "model",
        "finetuned",
        "evaluated",
        "collected",
        "receipt",
    ):
        parser.add_argument(f"--{name}", required=True, type=Path)
    options = parser.parse_args()
    with exit_on_user_error():
        receipt = run_register(
            read_composed(options.config),
            tasks=options.tasks,
            tokens=options.tokens,
            model=options.model,
            finetuned=options.finetuned,
            evaluated=options.evaluated,
            collected=options.collected,
        )
        write_receipt(options.receipt, receipt)
