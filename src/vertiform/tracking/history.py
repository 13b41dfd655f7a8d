"""Tells every decision about a model, and checks that what is told is true."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vertiform.errors import TrackingError
from vertiform.files import read_json
from vertiform.tracking.chain import WITHDRAWN, Chain, Entry
from vertiform.tracking.ledger import read_chain
from vertiform.tracking.moves import Standing
from vertiform.tracking.registry import LADDER, aliases_of, find_version, verified_files
from vertiform.tracking.store import Store
from vertiform.tracking.witness import check_remembered, is_in, store_key

RECEIPTS = "reports/*/promote/*.json"  # below a project's root


def history(store: Store, name: str) -> Chain:
    """Return every decision about the model's aliases, refused and void ones too, oldest first."""
    aliases_of(store, name)  # says so if the model does not exist
    return read_chain(store, name)


def outcome(chain: Chain, entry: Entry) -> str:
    """Say in a word or two what became of an entry."""
    decision = entry.decision
    winner = chain.winner_over(entry)
    if winner is not None:
        return f"lost to {winner.number}" if winner.decision.id != decision.id else "sent twice"
    if WITHDRAWN in entry.marks:
        return "withdrawn"
    if decision.moves and not entry.is_applied:
        return "begun, never finished"
    return f"{decision.action}, forced" if decision.forced else decision.action


def verify(store: Store, name: str, *, root: Path) -> list[TrackingError]:
    """Return what is wrong with the model's history, aliases or files; each with its fix.

    root: the project's, whose receipts and memory of the ledger are compared.
    """
    try:
        chain = history(store, name)
    except TrackingError as error:
        return [error]
    found = [*_broken(chain), *_strays(store, chain), *_damaged(store, name)]
    try:
        check_remembered(root, store, chain)
    except TrackingError as error:
        found.append(error)
    return [*found, *_unknown_receipts(store, chain, root)]


def _broken(chain: Chain) -> Iterator[TrackingError]:
    for problem in chain.broken:
        yield TrackingError(
            problem, fix="put back a backup of the store from before that; keep this one aside."
        )
    for entry in chain.unfinished():
        yield TrackingError(
            f"Begun, never finished: {entry.told}, by process {entry.decision.process}.",
            fix="wait if that process still runs; else the next promotion or rollback goes on from "
            "what stands at the alias.",
        )


def _strays(store: Store, chain: Chain) -> Iterator[TrackingError]:
    name, aliases = chain.model, aliases_of(store, chain.model)
    for alias, number in Standing(chain, aliases).strays().items():
        yield TrackingError(
            f"`{alias}` of {name} stands at {aliases.get(alias, 'nothing')}, but the last decision "
            f"gave it to version {number}.",
            fix=f"run `vertiform history {name} --repair`, which moves it back.",
        )
    for alias in LADDER:
        if alias in aliases and not chain.moves(alias):
            yield TrackingError(
                f"No decision put `{alias}` of {name} at version {aliases[alias]}.",
                fix=f"run `vertiform promote {name} --to {alias}`, or delete the alias in MLflow.",
            )


def _damaged(store: Store, name: str) -> Iterator[TrackingError]:
    """Read back what every alias points at."""
    for number in sorted(set(aliases_of(store, name).values())):
        try:
            with verified_files(store, find_version(store, name, number)):
                pass
        except TrackingError as error:
            yield error


def _unknown_receipts(store: Store, chain: Chain, root: Path) -> Iterator[TrackingError]:
    """Compare with the receipts in git, which a restored database knows nothing of."""
    for path in sorted(root.glob(RECEIPTS)):
        receipt: dict[str, Any] = read_json(path)
        if receipt["model"] != chain.model or receipt.get("store") != store_key(store):
            continue
        if not is_in(chain, receipt["entry"], receipt["sha256"]):
            yield TrackingError(
                f"{path.relative_to(root)} tells of entry {receipt['entry']} "
                f"({receipt['alias']} to version {receipt['version']} at {receipt['when']}), which "
                f"{store.name} does not hold.",
                fix=f"put back the newer database; if it is lost, run `dvc repro -f "
                f"promote@{path.stem}`.",
            )
