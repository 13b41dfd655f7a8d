"""vertiform promote and rollback: aliases, moved by gates and never by hand alone."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import layout, session
from vertiform.cli.compose import compose
from vertiform.errors import EXIT_DONE, EXIT_REFUSED, ConfigError
from vertiform.files import read_json
from vertiform.params import read_params
from vertiform.tracking.collector import end_without_collecting, not_collecting

if TYPE_CHECKING:
    from vertiform.tracking.chain import Decision, Entry
    from vertiform.tracking.events import Events
    from vertiform.tracking.store import Store


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
            "--force", action="store_true", help="move although gates say no; needs --reason"
        )
        parser.add_argument(
            "overrides", nargs="*", metavar="KEY=VALUE", help="of conf/promote.yaml"
        )
    else:
        parser.add_argument(
            "reference", metavar="MODEL@ALIAS", help="such as software-area@staging"
        )
        parser.add_argument("--reason", required=True, help="kept with the decision")


def run(options: argparse.Namespace) -> int:
    """Do what the verb says."""
    if options.verb == "promote":
        return _promote(options)
    end_without_collecting()
    with not_collecting():
        return _rollback(options)


def run_promote(
    config: dict[str, Any],
    *,
    tasks: Path,
    tokens: Path,
    evaluated: Path,
    registered: Path,
    reason: str,
    force: bool = False,
) -> "Decided":
    """Ask every gate and move the alias if all agree; the decision is kept either way."""
    from vertiform.cli.evidence import gather
    from vertiform.evaluation.gates import decide, read_gates
    from vertiform.evaluation.verdict import Verdict
    from vertiform.tracking.decisions import promote
    from vertiform.tracking.receipts import read_receipt
    from vertiform.tracking.registry import find_version

    gates = read_gates(config["gates"], alias=config["alias"])
    events = _events(config)
    store = session.store_of(config)
    receipt = read_receipt(registered, store=store)
    assert receipt.model is not None
    assert receipt.version is not None
    version = find_version(store, receipt.model, receipt.version)
    _check_remembered(store, version.name)

    def ask() -> Verdict:
        evidence = gather(
            gates, store, version, tasks=tasks, tokens=tokens, evaluated=evaluated, receipt=receipt
        )
        return decide(gates, evidence)

    entry = promote(store, version, alias=config["alias"], decide=ask, reason=reason, force=force)
    _finish(store, entry, events)
    return Decided(store, entry)


@dataclass(frozen=True)
class Decided:
    """A decision as the ledger holds it."""

    store: "Store"
    entry: "Entry"

    @property
    def exit_code(self) -> int:
        """0 if the alias moved, 1 if a gate said no."""
        return EXIT_DONE if self.entry.decision.moves else EXIT_REFUSED

    def show(self) -> None:
        """Print what every gate said, and what came of it."""
        decision = self.entry.decision
        print(f"{decision.model} version {decision.version} asks for `{decision.alias}`:\n")
        print(_gate_table(decision))
        if decision.forced:
            print(f"Moved all the same, by force: {decision.reason}")

    def as_receipt(self) -> dict[str, Any]:
        """Return what is committed beside the code: it outlives the database."""
        from vertiform.tracking.witness import store_key

        return {
            **asdict(self.entry.decision),
            "entry": self.entry.number,
            "sha256": self.entry.sha256,
            "store": store_key(self.store),
        }


def _promote(options: argparse.Namespace) -> int:
    if options.force and not options.reason:
        raise ConfigError(
            "--force moves a model that gates refused, and says nothing of why.",
            fix='add --reason "<why it has to be>"; it is kept with the decision.',
        )
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
    decided = run_promote(
        config, **places, reason=options.reason or "asked by hand", force=options.force
    )
    decided.show()
    return decided.exit_code


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

    model, at, alias = options.reference.removeprefix("models:/").partition("@")
    if not at:
        raise ConfigError(
            f"`{options.reference}` names no alias.",
            fix=f"write <model>@<alias>, such as {model}@staging.",
        )
    config = session.asked_config(options)
    events = _events(config)
    store = session.store_of(config, must_exist=True)
    _check_remembered(store, model)
    entry = rollback(store, model, alias, reason=options.reason)
    _finish(store, entry, events)
    decision = entry.decision
    print(
        f"{model}: version {decision.version} stands at `{alias}` again; "
        f"version {decision.before} is at `previous-{alias}`."
    )
    return EXIT_DONE


def _gate_table(decision: "Decision") -> str:
    from vertiform.evaluation.verdict import GateRow, Verdict, verdict_table

    rows: list[dict[str, Any]] = decision.verdict["rows"]
    return verdict_table(Verdict(decision.alias, tuple(GateRow(**row) for row in rows)))


def _events(config: dict[str, Any]) -> "Events":
    from vertiform.tracking.events import Events

    return Events(**config["events"])


def _check_remembered(store: "Store", model: str) -> None:
    from vertiform.tracking.ledger import read_chain
    from vertiform.tracking.witness import check_remembered

    check_remembered(Path.cwd(), store, read_chain(store, model))


def _finish(store: "Store", entry: "Entry", events: "Events") -> None:
    """Remember the entry on this machine, and tell whoever follows the alias."""
    from vertiform.tracking.events import announce
    from vertiform.tracking.witness import remember

    remember(Path.cwd(), store, entry)
    if entry.decision.moves:
        announce(store, entry, events)
