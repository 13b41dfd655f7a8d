"""vertiform history: every decision about a model, and whether what it tells is true."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import session
from vertiform.errors import EXIT_DONE, EXIT_REFUSED

if TYPE_CHECKING:
    from vertiform.tracking.chain import Decision
    from vertiform.tracking.store import Store


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    session.add_tracking_option(parser)
    parser.add_argument("model", help="a registered model, such as software-area")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--verify", action="store_true", help="check the chain, the aliases and their files"
    )
    asked.add_argument(
        "--repair", action="store_true", help="move aliases back to where decisions put them"
    )


def run(options: argparse.Namespace) -> int:
    """Show the decisions; check them, or put the aliases right, if asked to."""
    from vertiform.evaluation.tables import text_table
    from vertiform.tracking.history import history, outcome
    from vertiform.tracking.moves import repair

    store = session.asked_store(options)
    if options.repair:
        done = repair(store, options.model)
        print("\n".join(done) or f"Every alias of {options.model} stands where it should.")
        return EXIT_DONE
    chain = history(store, options.model)
    rows = [
        [
            str(entry.number),
            entry.decision.when,
            entry.decision.who,
            entry.decision.alias,
            outcome(chain, entry),
            str(entry.decision.before or "-"),
            str(entry.decision.version),
            _gates(entry.decision),
            entry.decision.reason,
        ]
        for entry in chain.entries
    ]
    header = ["entry", "when", "who", "alias", "what", "from", "to", "gates", "reason"]
    print(text_table(header, rows))
    return _verify(store, options.model) if options.verify else EXIT_DONE


def _verify(store: "Store", model: str) -> int:
    from vertiform.tracking.history import history, verify
    from vertiform.tracking.witness import remember

    problems = verify(store, model, root=Path.cwd())
    for problem in problems:
        print(f"\nWrong: {problem}")
    if problems:
        return EXIT_REFUSED
    chain = history(store, model)
    if chain.head:
        remember(Path.cwd(), store, chain.head)
    print(f"\nAll {len(chain.links)} decisions, every alias and the files behind it hold.")
    return EXIT_DONE


def _gates(decision: "Decision") -> str:
    rows = decision.verdict.get("rows", ())
    refusals = [row["gate"] for row in rows if not row["passed"]]
    if refusals:
        return f"refused by {', '.join(refusals)}"
    return f"{len(rows)} passed" if rows else "-"
