"""Fine-tune a released task from every start."""

import argparse
from pathlib import Path

from vertiform.cli.compose import read_composed
from vertiform.cli.finetune import run_finetune
from vertiform.doors import exit_on_user_error
from vertiform.tracking.receipts import write_receipt

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.finetune", description=__doc__)
    for name in ("config", "tasks", "pretrained", "out", "receipt"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    options = parser.parse_args()
    with exit_on_user_error():
        receipt = run_finetune(
            read_composed(options.config),
            tasks=options.tasks,
            pretrained=options.pretrained,
            out=options.out,
        )
        write_receipt(options.receipt, receipt)
