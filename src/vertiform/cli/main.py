"""The command `vertiform`: finds the verb, imports what it needs, ends with its exit code."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from vertiform.doors import exit_on_user_error

# verb -> what it does. Each lives in the module of the same name, except those named in MODULES.
VERBS = {
    "pretrain": "pretrain a language model on a domain's text",
    "finetune": "fine-tune a labelled task from several starts and compare them",
    "evaluate": "score a fine-tuned model and its baseline on the test split",
    "register": "package an evaluated model and register it in MLflow",
    "promote": "move an alias to a model version, if every gate agrees",
    "rollback": "move an alias back to what stood there before",
    "history": "list every decision about a model: who, when, from, to and why",
    "predict": "ask the model behind an alias",
    "ui": "open MLflow's pages over the runs of this folder",
    "report": "show what the last release trained, how it scored and where it stands",
}
MODULES = {"rollback": "promote", "history": "promote"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb. Exit codes: 0 done, 1 a gate said no, 2 the user can put it right."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="vertiform",
        description="From the text of one industry to a language model in use, with proof of how.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, description=summary)
        if verb == chosen:
            _module(verb).add_arguments(verb_parser, verb)
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        sys.exit(_module(options.verb).run(options))


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"vertiform.cli.{MODULES.get(verb, verb)}")


if __name__ == "__main__":
    main()
