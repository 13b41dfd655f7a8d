"""Score a released model and its baseline on the test split."""

import argparse
from pathlib import Path

from vertiform.cli.compose import read_composed
from vertiform.cli.evaluate import run_evaluate
from vertiform.doors import exit_on_user_error

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluate", description=__doc__)
    for name in ("config", "tasks", "model", "finetuned", "out"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    options = parser.parse_args()
    with exit_on_user_error():
        run_evaluate(
            read_composed(options.config),
            tasks=options.tasks,
            model=options.model,
            finetuned=options.finetuned,
            out=options.out,
        )
