"""vertiform register: the evaluated model, packaged with its proof, as a version in MLflow."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import layout, session
from vertiform.cli.compose import compose
from vertiform.errors import EXIT_DONE
from vertiform.files import read_json

if TYPE_CHECKING:
    from vertiform.tracking.receipts import Receipt

LOCK = Path("requirements.lock")
NUM_EXAMPLES = 3  # test texts kept with the model, with what it says to them


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument(
        "overrides", nargs="+", metavar="KEY=VALUE", help="domain=... task.name=..."
    )


def run(options: argparse.Namespace) -> int:
    """Register what the last release of this task trained, once more."""
    config = compose("promote", options.overrides)
    domain, task = config["domain"], config["task"]["name"]
    places = {
        name: layout.existing(
            layout.option("register", name, domain=domain, task=task), made_by=f"evaluate@{task}"
        )
        for name in ("tasks", "tokens", "model", "finetuned", "evaluated", "collected")
    }
    run_register(config, **places)
    return EXIT_DONE


def run_register(
    config: dict[str, Any],
    *,
    tasks: Path,
    tokens: Path,
    model: Path,
    finetuned: Path,
    evaluated: Path,
    collected: Path,
) -> "Receipt":
    """Log the model to the run that trained it, register it, and read every byte back."""
    from vertiform.evaluation.card import model_card
    from vertiform.inference.predictor import Predictor
    from vertiform.tracking.packaging import log_model
    from vertiform.tracking.rebuildable import RECEIPT
    from vertiform.tracking.receipts import Receipt, read_receipt
    from vertiform.tracking.registry import register
    from vertiform.tracking.runs import reopened_run

    store = session.store_of(config)
    receipt = read_receipt(finetuned, store=store)
    task = receipt.facts["task"]
    name = registered_name(config["domain"], task)
    rebuild = f"dvc repro -f register@{task}"
    predictor = Predictor.load(model)
    examples = _example_texts(tasks / task)
    evaluation = read_json(evaluated / layout.EVALUATION)
    card = model_card(
        {
            "name": name,
            "task": read_json(tasks / task / "task.json"),
            "evaluation": evaluation,
            "sources": _sources(collected),
            **_card_facts(receipt, tokens=tokens, domain=config["domain"]),
        }
    )
    with reopened_run(store, receipt.run_id) as run:
        logged = log_model(
            run,
            model,
            name=name,
            card=card,
            example_inputs=examples,
            example_predictions=predictor.predict(examples),
            lock=LOCK,
            facts={"domain": config["domain"], "task": task, "start": receipt.facts["best_start"]},
            rebuild=rebuild,
        )
        # Instead of the note of its training: the card has the scores on the test split as well.
        run.note(card)
    version = register(
        store,
        name,
        logged,
        card=card,
        rebuild=rebuild,
        tags={"test.sha256": evaluation["data_sha256"], RECEIPT: finetuned.as_posix()},
    )
    print(f"register@{task}: {version.uri}, {logged.size_bytes / 1e6:.1f} MB, read back whole")
    return Receipt(
        stage=f"register@{task}",
        run_id=receipt.run_id,
        run_name=receipt.run_name,
        scores=receipt.scores,
        data=receipt.data,
        config_sha256=receipt.config_sha256,
        model_id=logged.model_id,
        model=name,
        version=version.number,
        facts={"files_sha256": logged.files_sha256, "size_bytes": logged.size_bytes},
    )


def registered_name(domain: str, task: str) -> str:
    """Name the registered model of a domain's task."""
    return f"{domain}-{task}"


def _example_texts(task: Path) -> list[str]:
    """The first test texts, as a person would send them."""
    from vertiform.tasks.rows import read_task

    rows = read_task(task).splits["test"][:NUM_EXAMPLES]
    return [row["text"] if "text" in row else " ".join(row["tokens"]) for row in rows]


def _sources(report: Path) -> list[dict[str, Any]]:
    """Name, version, licence and size of every source, from the report of collect."""
    shown = ("name", "version", "licence", "documents")
    return [{key: source.get(key) for key in shown} for source in read_json(report)["sources"]]


def _card_facts(receipt: "Receipt", *, tokens: Path, domain: str) -> dict[str, Any]:
    manifest = read_json(tokens / "manifest.json")
    train = manifest["splits"]["train"]
    return {
        "data": {
            "domain": domain,
            "documents": train["documents"],
            "tokens": train["tokens"],
            "vocabulary": manifest["vocab_size"],
            "languages": ", ".join(manifest["languages"]),
            "documents dropped for sharing text with a test": manifest["contamination"][
                "documents_dropped"
            ],
            "sha256": manifest["data_sha256"],
        },
        "training": {
            "start": receipt.facts["best_start"],
            "chosen by": receipt.facts["monitor"],
            "starts compared": ", ".join(receipt.facts["starts"]),
            "seed": receipt.facts["seed"],
        },
        "lineage": {"run": receipt.run_id, "configuration": receipt.config_sha256, **receipt.data},
    }
