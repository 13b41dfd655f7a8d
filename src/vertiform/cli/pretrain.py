"""vertiform pretrain: a language model from a domain's tokens."""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import identity, layout, session
from vertiform.cli.compose import compose, instantiate
from vertiform.errors import EXIT_DONE

if TYPE_CHECKING:
    from vertiform.tracking.receipts import Receipt

BUILT = ("model", "objective", "optimizer", "schedule", "batches", "budget", "trainer")


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="domain=..., and any key or group of conf/pretrain.yaml",
    )
    parser.add_argument("--out", type=Path, help="folder for the model (runs/pretrain/<identity>)")


def run(options: argparse.Namespace) -> int:
    """Compose, pretrain, and say where the model is."""
    config = compose("pretrain", options.overrides)
    domain = config["domain"]
    tokens = layout.existing(
        layout.option("pretrain", "tokens", domain=domain), made_by=f"tokenize@{domain}"
    )
    receipt = run_pretrain(config, tokens=tokens, out=options.out)
    print(f"\nThe model is in {receipt.facts['model']}. Compare its run with others: make ui")
    return EXIT_DONE


def run_pretrain(config: dict[str, Any], *, tokens: Path, out: Path | None) -> "Receipt":
    """Pretrain as `config` says, under one MLflow run."""
    from vertiform.corpus.manifest import read_manifest
    from vertiform.evaluation import names
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.runs import start_run
    from vertiform.training.pretrain import pretrain

    domain = config["domain"]
    manifest = read_manifest(tokens, domain=domain)
    fingerprint = identity.identity_of(config, data_sha256=manifest.data_sha256)
    out = out or identity.OUTSIDE_RELEASE / "pretrain" / fingerprint
    built = {key: instantiate(config[key]) for key in BUILT}
    store = session.store_of(config)
    lineage = session.lineage_of(config, data=[tokens])

    with start_run(
        store,
        f"{domain} from {config['start'] or 'scratch'}",
        experiment=session.experiment_of(config, "pretrain"),
        kind="pretrain",
        config=config,
        lineage=lineage,
    ) as run:
        result = pretrain(
            tokens=tokens,
            out=out,
            checkpoints=identity.UNFINISHED,
            fingerprint=fingerprint,
            domain=domain,
            start=Path(config["start"]) if config["start"] else None,
            seed=config["seed"],
            monitor=config["monitor"],
            sink=run.sink,
            **built,
        )
        # The curves end with the last step; these are of the step whose weights are kept.
        run.log_metrics({names.best(name): value for name, value in result.metrics.items()})
        run.log_metrics({names.TOKENS_PER_SECOND: result.fit.tokens_per_second})
    shutil.rmtree(identity.UNFINISHED / fingerprint, ignore_errors=True)

    print(f"pretrain: {', '.join(f'{name} {v:.3f}' for name, v in result.metrics.items())}")
    return Receipt(
        stage="pretrain",
        run_id=run.id,
        run_name=run.name,
        scores=result.metrics,
        data=session.digests_of(lineage),
        config_sha256=fingerprint,
        facts={
            "model": out.as_posix(),
            "best_step": result.fit.best_step,
            "steps": result.fit.steps,
            "parameters": result.parameters,
            "tokens": result.tokens,
            "epochs": round(result.epochs, 3),
        },
    )
