"""Pretrain the release's language model."""

import argparse
from pathlib import Path

from vertiform.cli import layout
from vertiform.cli.compose import read_composed
from vertiform.cli.pretrain import read_besides, run_pretrain
from vertiform.doors import exit_on_user_error
from vertiform.tracking.receipts import write_receipt

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.pretrain", description=__doc__)
    for name in ("config", "tokens", "out", "receipt"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    options = parser.parse_args()
    with exit_on_user_error():
        config = read_composed(options.config)
        layout.check_deps("pretrain", read_besides(config), domain=config["domain"])
        write_receipt(options.receipt, run_pretrain(config, tokens=options.tokens, out=options.out))
