"""Ask the gates, and move the alias of a released model if all of them agree."""

import argparse
import sys
from pathlib import Path

from vertiform.cli.compose import read_composed
from vertiform.cli.promote import run_promote
from vertiform.doors import exit_on_user_error
from vertiform.errors import EXIT_DONE
from vertiform.files import write_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.promote", description=__doc__)
    for name in ("config", "tasks", "tokens", "evaluated", "registered", "receipt"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    options = parser.parse_args()
    with exit_on_user_error():
        decided = run_promote(
            read_composed(options.config),
            tasks=options.tasks,
            tokens=options.tokens,
            evaluated=options.evaluated,
            registered=options.registered,
            reason="dvc repro",
        )
        decided.show()
        if decided.exit_code == EXIT_DONE:
            write_json(options.receipt, decided.as_receipt())
        sys.exit(decided.exit_code)
