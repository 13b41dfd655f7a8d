"""vertiform predict: ask the model behind an alias."""

import argparse
import json
import sys
from pathlib import Path

from vertiform.cli import session
from vertiform.errors import EXIT_DONE, CorpusError

ALIAS = "staging"


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument("model", help="MODEL@ALIAS or MODEL/NUMBER; MODEL alone means @staging")
    parser.add_argument("text", nargs="*", help="texts to ask about; none reads lines from stdin")
    session.add_tracking_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Load the version, checked by its hashes, and print what it says to each text."""
    texts = options.text or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise CorpusError("No text was given.", fix="add it in quotes, or pipe lines to stdin.")
    from vertiform.inference.predictor import Predictor
    from vertiform.tracking.model_files import BUNDLE
    from vertiform.tracking.registry import resolve, verified_files

    reference = options.model if set("@/") & set(options.model) else f"{options.model}@{ALIAS}"
    store = session.asked_store(options)
    with verified_files(store, resolve(store, reference)) as folder:
        answers = Predictor.load(Path(folder) / BUNDLE).predict(texts)
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False) if options.json else _for_people(answer))
    return EXIT_DONE


def _for_people(answer: dict) -> str:
    if "entities" not in answer:
        ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
        others = ", ".join(f"{label} {p:.2f}" for label, p in ranked[1:3])
        return f"{answer['label']} ({answer['confidence']:.2f}; then {others})"
    found = [
        f"{entity['text']} [{entity['type']} {entity['confidence']:.2f}]"
        for entity in answer["entities"]
    ]
    return ", ".join(found) if found else "no entities"
