"""vertiform: from the text of one industry to a language model in use, with proof of how.

Finds the verb, imports only what that verb needs, and ends with its exit code.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from vertiform.doors import exit_on_user_error
from vertiform.errors import EXIT_DONE, ConfigError, did_you_mean

# verb -> what it does. Each lives in the module of the same name, except those named in MODULES.
VERBS = {
    "pretrain": "pretrain a language model on a domain's text",
    "finetune": "fine-tune a labelled task from several starts and compare them",
    "sweep": "search for a better configuration, and go on where it was stopped",
    "evaluate": "score a fine-tuned model and its baseline on the test split",
    "register": "package an evaluated model and register it in MLflow",
    "promote": "move an alias to a model version, if every gate agrees",
    "rollback": "move an alias back to what stood there before",
    "history": "list every decision about a model: who, when, from, to and why",
    "verify": "make a version again from its record, and say whether it is the same",
    "gc": "show what no alias or recent run needs, and remove it when asked",
    "predict": "ask the model behind an alias",
    "runs": "list runs, the latest or the best by a metric",
    "compare": "show what differs between runs, and their curves on one page",
    "sync": "send what MLflow does not have yet, and end runs whose process is gone",
    "ui": "open MLflow's pages over the runs of this folder",
    "report": "show what the last release trained, how it scored and where it stands",
}
MODULES = {"rollback": "promote"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb. Exit codes: 0 done, 1 a gate said no, 2 the user can put it right."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    verb, *rest = given or ["--help"]
    if verb in ("-h", "--help"):
        print(_overview())
        sys.exit(EXIT_DONE)
    with exit_on_user_error():
        if verb not in VERBS:
            raise ConfigError(
                f"`{verb}` is not a verb of vertiform.", fix=did_you_mean(verb, VERBS)
            )
        module = _module(verb)
        parser = argparse.ArgumentParser(
            prog=f"vertiform {verb}", description=VERBS[verb], allow_abbrev=False
        )
        module.add_arguments(parser, verb)
        # Intermixed, so that an option may stand between a model and its texts.
        options = parser.parse_intermixed_args(rest)
        options.verb = verb
        sys.exit(module.run(options))


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = "\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items())
    return f"{(__doc__ or '').splitlines()[0]}\n\n{lines}\n\nvertiform VERB --help says more."


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"vertiform.cli.{MODULES.get(verb, verb)}")


if __name__ == "__main__":
    main()
