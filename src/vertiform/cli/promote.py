"""vertiform promote, rollback and history: aliases, moved by gates and never by hand alone."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import layout, session
from vertiform.cli.compose import compose
from vertiform.errors import EXIT_DONE, EXIT_REFUSED, ConfigError
from vertiform.files import read_json
from vertiform.params import read_params

if TYPE_CHECKING:
    from vertiform.tracking.decisions import Decision


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    session.add_tracking_option(parser)
    if verb == "promote":
        parser.add_argument(
            "model", help="the last registered version of it, such as software-area"
        )
        parser.add_argument("--to", dest="alias", default="staging", help="alias to move (staging)")
        parser.add_argument("--reason", default="", help="kept with the decision")
        parser.add_argument(
            "overrides", nargs="*", metavar="KEY=VALUE", help="of conf/promote.yaml"
        )
    elif verb == "rollback":
        parser.add_argument(
            "reference", metavar="MODEL@ALIAS", help="such as software-area@staging"
        )
        parser.add_argument("--reason", required=True, help="kept with the decision")
    else:
        parser.add_argument("model", help="a registered model, such as software-area")


def run(options: argparse.Namespace) -> int:
    """Do what the verb says."""
    if options.verb == "promote":
        return _promote(options)
    if options.verb == "rollback":
        return _rollback(options)
    return _history(options)


def run_promote(
    config: dict[str, Any],
    *,
    tasks: Path,
    tokens: Path,
    evaluated: Path,
    registered: Path,
    reason: str,
) -> "Decision":
    """Ask every gate and move the alias if all agree; the decision is kept either way."""
    from vertiform.cli.evidence import gather
    from vertiform.evaluation.gates import decide, read_gates
    from vertiform.evaluation.verdict import verdict_table
    from vertiform.tracking.decisions import promote
    from vertiform.tracking.receipts import read_receipt
    from vertiform.tracking.registry import find_version

    gates = read_gates(config["gates"], alias=config["alias"])
    store = session.store_of(config)
    receipt = read_receipt(registered, store=store)
    assert receipt.model is not None
    assert receipt.version is not None
    version = find_version(store, receipt.model, receipt.version)
    evidence = gather(
        gates, store, version, tasks=tasks, tokens=tokens, evaluated=evaluated, receipt=receipt
    )
    verdict = decide(gates, evidence)
    decision = promote(store, version, verdict=verdict, reason=reason)
    print(f"{version.name} version {version.number} asks for `{config['alias']}`:\n")
    print(verdict_table(verdict))
    return decision


def exit_code(decision: "Decision") -> int:
    """0 if the alias moved, 1 if a gate said no."""
    return EXIT_REFUSED if decision.action == "refused" else EXIT_DONE


def _promote(options: argparse.Namespace) -> int:
    domain, task = _domain_and_task(options.model)
    finetuned = layout.existing(
        layout.option("register", "finetuned", domain=domain, task=task), made_by=f"finetune@{task}"
    )
    kind = read_json(finetuned)["facts"]["kind"]
    given = [
        f"domain={domain}",
        f"task={kind}",
        f"task.name={task}",
        f"tracking={options.tracking}",
    ]
    config = compose(
        "promote", [*given, f"alias={options.alias}", f"gates={options.alias}", *options.overrides]
    )
    places = {
        name: layout.existing(
            layout.option("promote", name, domain=domain, task=task), made_by=f"register@{task}"
        )
        for name in ("tasks", "tokens", "evaluated", "registered")
    }
    return exit_code(run_promote(config, **places, reason=options.reason or "asked by hand"))


def _domain_and_task(model: str) -> tuple[str, str]:
    """Split the name of a registered model; a domain's own name may hold hyphens."""
    domains = [str(domain) for domain in read_params(Path("params.yaml"))["domains"]]
    for domain in sorted(domains, key=len, reverse=True):
        if model.startswith(f"{domain}-"):
            return domain, model.removeprefix(f"{domain}-")
    raise ConfigError(
        f"`{model}` is not the name of a model of a domain in params.yaml.",
        fix=f"write <domain>-<task>; the domains are {', '.join(sorted(domains))}.",
    )


def _rollback(options: argparse.Namespace) -> int:
    from vertiform.tracking.decisions import rollback

    model, _, alias = options.reference.removeprefix("models:/").partition("@")
    decision = rollback(session.asked_store(options), model, alias, reason=options.reason)
    print(
        f"{model}: version {decision.version} stands at `{alias}` again; "
        f"version {decision.before} is at `previous-{alias}`."
    )
    return EXIT_DONE


def _history(options: argparse.Namespace) -> int:
    from vertiform.evaluation.tables import text_table
    from vertiform.tracking.decisions import history

    decisions = history(session.asked_store(options), options.model)
    rows = [
        [
            decision.when,
            decision.who,
            decision.alias,
            decision.action,
            str(decision.before or "-"),
            str(decision.after or "-"),
            _why(decision),
        ]
        for decision in decisions
    ]
    print(text_table(["when", "who", "alias", "action", "from", "to", "why"], rows))
    return EXIT_DONE


def _why(decision: "Decision") -> str:
    refusals = [row["gate"] for row in decision.verdict.get("rows", ()) if not row["passed"]]
    return f"refused by {', '.join(refusals)}" if refusals else decision.reason
