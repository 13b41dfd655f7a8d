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
    from vertiform.evaluation.report import EvaluationReport
    from vertiform.tracking.decisions import Decision
    from vertiform.tracking.registry import Version
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
    from vertiform.evaluation.evidence import Evidence
    from vertiform.evaluation.gates import decide, read_gates
    from vertiform.evaluation.report import EvaluationReport
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
    report = EvaluationReport.from_json(read_json(evaluated / layout.EVALUATION))
    contamination = read_json(tokens / "manifest.json")["contamination"]
    evidence = Evidence(
        report=report,
        holder=_holder(
            store, version, alias=config["alias"], report=report, task=tasks / report.task
        ),
        num_contaminated_documents=contamination["overlap_after"],
        example_difference=_example_difference(store, version),
        size_megabytes=receipt.facts["size_bytes"] / 1e6,
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


def _holder(
    store: "Store", version: "Version", *, alias: str, report: "EvaluationReport", task: Path
) -> Any:
    """Score what stands at the alias now on the same test rows, by the same predictor."""
    from vertiform.evaluation.evidence import NOBODY, Holder
    from vertiform.evaluation.report import compare
    from vertiform.inference.predictor import Predictor
    from vertiform.tasks.rows import read_task
    from vertiform.tracking.model_files import BUNDLE
    from vertiform.tracking.registry import aliases_of, find_version, verified_files

    standing = aliases_of(store, version.name).get(alias)
    if standing is None:
        return NOBODY
    holder = find_version(store, version.name, standing)
    data = read_task(task)
    rows = data.splits["test"]
    predicted = []
    for each in (version, holder):
        with verified_files(store, each) as folder:
            predicted.append(Predictor.load(folder / BUNDLE).score_rows(rows))
    differences = compare(
        read_json(task / "task.json"),
        rows=rows,
        predictions=predicted[0],
        others=predicted[1],
        resampling=report.resampling,
    )
    return Holder(str(standing), data_sha256=data.sha256["test"], differences=differences)


def _example_difference(store: "Store", version: "Version") -> float:
    """Load the version from where it is registered and ask what it was asked when logged."""
    from vertiform.tracking.packaging import example_difference
    from vertiform.tracking.registry import verified_files

    with verified_files(store, version) as folder:
        return example_difference(folder)
