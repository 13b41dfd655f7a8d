"""vertiform pretrain: a language model from a domain's tokens."""

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import identity, layout, session
from vertiform.cli.compose import compose, instantiate
from vertiform.errors import EXIT_DONE
from vertiform.files import sha256_of

if TYPE_CHECKING:
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.starts import FetchedStart
    from vertiform.tracking.store import Store
    from vertiform.training.pretrain import PretrainResult
    from vertiform.training.workload import Recipe, Text

RECIPE = ("model", "objective", "optimizer", "schedule", "batches", "mixture", "budget")


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="domain=..., and any key or group of conf/pretrain.yaml",
    )
    parser.add_argument("--out", type=Path, help="folder for the model (runs/pretrain/<identity>)")
    parser.add_argument(
        "--plan",
        action="store_true",
        help="say what the run would take on this machine, and train nothing",
    )


def run(options: argparse.Namespace) -> int:
    """Compose, pretrain, and say where the model is."""
    from vertiform.training.distributed import joined

    config = compose("pretrain", options.overrides)
    tokens = tokens_of(config["domain"])
    if options.plan:
        print(_plan(config, tokens=tokens))
        return EXIT_DONE
    trainer = config["trainer"]
    with joined(trainer["strategy"], accelerator=trainer["accelerator"]) as place:
        if place.rank > 0:
            _follow(config, tokens=tokens)
            return EXIT_DONE
        receipt = run_pretrain(config, tokens=tokens, out=options.out)
    print(f"\nThe model is in {receipt.facts['model']}. Compare its run with others: make ui")
    return EXIT_DONE


def run_pretrain(config: dict[str, Any], *, tokens: Path, out: Path | None) -> "Receipt":
    """Pretrain as `config` says, under one MLflow run."""
    from vertiform.evaluation import names
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.runs import start_run
    from vertiform.tracking.starts import log_checkpoint
    from vertiform.training.distributed import from_first

    text = text_of(config, tokens=tokens)
    store = session.training_store_of(config)
    start, source = from_first(lambda: start_of(config, store))
    fingerprint = fingerprint_of(config, text, start=start)
    out = out or identity.OUTSIDE_RELEASE / "pretrain" / fingerprint
    lineage = session.lineage_of(config, data=[tokens, *read_besides(config)])

    with start_run(
        store,
        f"{text.domain} from {config['weights'] or 'scratch'}",
        experiment=session.experiment_of(config, "pretrain"),
        kind="pretrain",
        config=config,
        lineage=lineage,
        identity=fingerprint,
    ) as run:
        result = train_language_model(
            config,
            text,
            start=start,
            out=out,
            fingerprint=fingerprint,
            trainer=instantiate(config["trainer"]),
            sink=run,
        )
        # The curves end with the last step; these are of the step whose weights are kept.
        run.log_metrics({names.best(name): value for name, value in result.metrics.items()})
        run.log_metrics(result.fit.speed)
        run.set_tags({"energy.method": result.fit.energy_method})
        if source is not None:
            run.set_tags({"vertiform.start": source.source})
        log_checkpoint(run, out, rebuild="dvc repro pretrain")
        run.note(_note(config, result, name=run.name, data=session.digests_of(lineage)))
        run_id = run.id
    shutil.rmtree(identity.UNFINISHED / fingerprint, ignore_errors=True)

    print(f"pretrain: {', '.join(f'{name} {v:.3f}' for name, v in result.metrics.items())}")
    return Receipt(
        stage="pretrain",
        run_id=run_id,
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
            "shares": result.shares,
        },
    )


def _note(
    config: dict[str, Any], result: "PretrainResult", *, name: str, data: dict[str, str]
) -> str:
    from vertiform.tracking.run_notes import pretrain_note

    return pretrain_note(
        *(name, config),
        model=result.out.as_posix(),
        facts={
            "parameters": f"{result.parameters:,}",
            "tokens trained on": f"{result.tokens:,} ({result.epochs:.2f} epochs)",
            "steps": f"{result.fit.steps:,}, the best {result.fit.best_step}",
        },
        metrics=result.metrics,
        data=data,
    )


def read_besides(config: dict[str, Any]) -> list[Path]:
    """Files and folders of this disk that the configuration names, besides the tokens."""
    read = [tokens_of(name) for name in config["mixture"]["replay"]]
    read += [Path(glossary) for glossary in _glossaries(config["objective"])]
    if config["weights"] is not None and Path(config["weights"]).is_dir():
        read.append(Path(config["weights"]))
    return read


def _glossaries(objective: dict[str, Any]) -> Iterator[str]:
    for key, value in objective.items():
        if isinstance(value, dict):
            yield from _glossaries(value)
        elif key == "glossary" and value is not None:
            yield value


def _follow(config: dict[str, Any], *, tokens: Path) -> None:
    """Train beside the first process of the run, which alone tracks and writes."""
    from vertiform.training.distributed import from_first
    from vertiform.training.metrics import NoSink

    text = text_of(config, tokens=tokens)
    # Found by the first process: two that open a new store at once get in each other's way.
    start, _ = from_first(lambda: start_of(config, session.store_of(config)))
    fingerprint = fingerprint_of(config, text, start=start)
    train_language_model(
        config,
        text,
        start=start,
        out=Path(os.devnull),
        fingerprint=fingerprint,
        trainer=instantiate(config["trainer"]),
        sink=NoSink(),
    )


def train_language_model(config: dict[str, Any], text: "Text", **place: Any) -> "PretrainResult":
    """Pretrain as a composed conf/pretrain.yaml says.

    place: what training.pretrain takes besides its recipe and its text.
    """
    from vertiform.training.pretrain import pretrain

    return pretrain(_recipe_of(config), text, checkpoints=identity.UNFINISHED, **place)


def _plan(config: dict[str, Any], *, tokens: Path) -> str:
    """Say what the run would take, from a few steps whose weights are thrown away."""
    from vertiform.training.plan import plan

    start = start_of(config, session.store_of(config))[0] if config["weights"] else None
    return plan(
        _recipe_of(config),
        text_of(config, tokens=tokens),
        start=start,
        trainer=instantiate(config["trainer"]),
    ).rendered()


def _recipe_of(config: dict[str, Any]) -> "Recipe":
    from vertiform.training.workload import Recipe

    built = {key: instantiate(config[key]) for key in RECIPE}
    return Recipe(seed=config["seed"], monitor=config["monitor"], **built)


def text_of(config: dict[str, Any], *, tokens: Path) -> "Text":
    from vertiform.training.workload import Text

    replay = {name: tokens_of(name) for name in config["mixture"]["replay"]}
    return Text(domain=config["domain"], tokens=tokens, replay=replay)


def tokens_of(domain: str) -> Path:
    return layout.existing(
        layout.option("pretrain", "tokens", domain=domain), made_by=f"tokenize@{domain}"
    )


def start_of(
    config: dict[str, Any], store: "Store | None"
) -> tuple[str | Path | None, "FetchedStart | None"]:
    """The checkpoint to start from; the folder and what it is in MLflow if it is one from there."""
    if config["weights"] is None:
        return None, None
    assert store is not None, "the first process has one"
    fetched = session.fetched_start(store, config["weights"], into=identity.FETCHED)
    return (fetched.folder, fetched) if fetched else (config["weights"], None)


def fingerprint_of(config: dict[str, Any], text: "Text", *, start: str | Path | None) -> str:
    """What makes this run this run: its configuration, and all that it reads."""
    from vertiform.checkpoint_names import checkpoint_folder
    from vertiform.corpus.manifest import read_manifest

    folders = {text.domain: text.tokens, **text.replay}
    read = [read_manifest(folder, domain=name).data_sha256 for name, folder in folders.items()]
    if start is not None:
        read.append(identity.weights_sha256(checkpoint_folder(str(start))))
    glossaries = map(Path, _glossaries(config["objective"]))
    read += [sha256_of(file) for file in glossaries if file.is_file()]
    return identity.identity_of(config, data_sha256=" ".join(read))
