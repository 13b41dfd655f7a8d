"""Which runs and versions are needed, and why. Pure: it reads an inventory and deletes nothing.

Something is kept if a root reaches it. The roots: what an alias stands at, what the ledger or a
committed receipt names, what runs, what is young. Along the RULES everything is kept that those
came from or belong to, so that each can still be explained and made again.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vertiform.tracking.inventory import PARENT, Inventory, RunFacts, VersionFacts
from vertiform.tracking.ledger import LEDGER
from vertiform.tracking.recorded import PRETRAIN

RUN_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
VERSION = re.compile(r"models:/([^@/:\s\"']+)/(\d+)")
SECONDS_A_DAY = 86_400.0

# Why something is kept, the strongest first.
ALIAS = "an alias reaches it"
NAMED_BY_LEDGER = "a decision names it"
NAMED_BY_RECEIPT = "a committed receipt names it"
RUNNING = "it is running, or belongs to what is"
YOUNG = "younger than --keep-days, or belongs to what is"
REGISTERED = "a registered version (--versions lets those go that nothing names)"

Item = RunFacts | VersionFacts


@dataclass(frozen=True)
class Receipts:
    """What the receipts below reports/ name, in git and in the workspace."""

    runs: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()  # uris


@dataclass(frozen=True)
class Policy:
    """How much is kept. now: seconds since 1970."""

    keep_days: float
    removes_versions: bool
    now: float

    def is_young(self, seconds: float) -> bool:
        """Is this time within the last `keep_days`?"""
        return seconds > self.now - self.keep_days * SECONDS_A_DAY


@dataclass(frozen=True)
class Retained:
    """Every run and version that is kept, with the reason; what is in neither goes."""

    runs: Mapping[str, str]
    versions: Mapping[str, str]
    inventory: Inventory = field(repr=False)

    @property
    def runs_to_go(self) -> list[RunFacts]:
        """Runs that nothing needs; children first, so that none is left without its parent."""
        going = [run for run in self.inventory.runs.values() if run.id not in self.runs]
        depths = {run.id: _depth(run, self.inventory.runs) for run in going}
        return sorted(going, key=lambda run: (-depths[run.id], run.started, run.id))

    @property
    def versions_to_go(self) -> list[VersionFacts]:
        """Versions that nothing names."""
        versions = self.inventory.versions.values()
        return [version for version in versions if version.uri not in self.versions]


@dataclass(frozen=True)
class World:
    """An inventory with what is looked up in it. digest_of: how DVC names a run's weights."""

    inventory: Inventory
    children: Mapping[str, tuple[RunFacts, ...]]
    pretraining: tuple[RunFacts, ...]
    digest_of: Callable[[RunFacts], str | None]


Rule = Callable[[Item, World], Iterable[Item]]


def run_of_version(item: Item, world: World) -> Iterator[Item]:
    """A version needs the run that made it."""
    if isinstance(item, VersionFacts) and item.run_id in world.inventory.runs:
        yield world.inventory.runs[item.run_id]


def parent(item: Item, world: World) -> Iterator[Item]:
    """A run needs the one it belongs to: the fine-tuning of a start, the sweep of a trial."""
    if isinstance(item, RunFacts) and item.parent_id in world.inventory.runs:
        yield world.inventory.runs[item.parent_id]


def children(item: Item, world: World) -> Iterator[Item]:
    """A run needs those that belong to it: the starts that the best was chosen from."""
    if isinstance(item, RunFacts):
        yield from world.children.get(item.id, ())


def named(item: Item, world: World) -> Iterator[Item]:
    """Runs and versions that the tags name, such as the version that a run started from."""
    texts = [text for name, text in item.tags.items() if name != PARENT]
    yield from _named_in(texts, world.inventory)
    if isinstance(item, VersionFacts):
        yield from _named_in([item.source], world.inventory)


def pretraining(item: Item, world: World) -> Iterator[Item]:
    """A run needs the one that left the weights which it read: its rebuild asks for it."""
    if not isinstance(item, RunFacts):
        return
    read = {value for name, value in item.tags.items() if name.startswith("data.")}
    if read:
        yield from (run for run in world.pretraining if world.digest_of(run) in read)


RULES: tuple[Rule, ...] = (run_of_version, parent, children, named, pretraining)


def retain(
    inventory: Inventory,
    policy: Policy,
    receipts: Receipts,
    *,
    digest_of: Callable[[RunFacts], str | None] = lambda run: None,
    rules: Iterable[Rule] = RULES,
) -> Retained:
    """Decide what is kept, and why: the first of the reasons that reaches it."""
    by_parent: dict[str, list[RunFacts]] = {}
    for run in inventory.runs.values():
        by_parent.setdefault(run.parent_id, []).append(run)
    world = World(
        inventory,
        children={key: tuple(found) for key, found in by_parent.items() if key},
        pretraining=tuple(run for run in inventory.runs.values() if run.kind == PRETRAIN),
        digest_of=_once(digest_of),
    )
    rules = tuple(rules)
    runs: dict[str, str] = {}
    versions: dict[str, str] = {}
    for reason, roots in _roots(inventory, policy, receipts):
        waiting = list(roots)
        while waiting:
            item = waiting.pop()
            kept, key = (runs, item.id) if isinstance(item, RunFacts) else (versions, item.uri)
            if key in kept:
                continue
            kept[key] = reason
            waiting += [needed for rule in rules for needed in rule(item, world)]
    return Retained(runs, versions, inventory)


def _once(digest_of: Callable[[RunFacts], str | None]) -> Callable[[RunFacts], str | None]:
    """Look up each run's digest once: it reads every byte of the weights."""
    known: dict[str, str | None] = {}

    def looked_up(run: RunFacts) -> str | None:
        if run.id not in known:
            known[run.id] = digest_of(run)
        return known[run.id]

    return looked_up


def _roots(
    inventory: Inventory, policy: Policy, receipts: Receipts
) -> Iterator[tuple[str, list[Item]]]:
    versions, runs = inventory.versions, inventory.runs
    yield ALIAS, [version for version in versions.values() if version.aliases]
    yield NAMED_BY_LEDGER, _named_by_decisions(inventory)
    yield (
        NAMED_BY_RECEIPT,
        [
            *(versions[uri] for uri in receipts.versions if uri in versions),
            *(runs[id_] for id_ in receipts.runs if id_ in runs),
        ],
    )
    yield RUNNING, [run for run in runs.values() if run.is_running]
    young_runs = [run for run in runs.values() if policy.is_young(max(run.started, run.ended))]
    yield (
        YOUNG,
        [
            *(version for version in versions.values() if policy.is_young(version.created)),
            *young_runs,
        ],
    )
    if not policy.removes_versions:
        yield REGISTERED, list(versions.values())


def _named_by_decisions(inventory: Inventory) -> list[Item]:
    """The ledger's own versions, and each version that a decision was about or moved away from."""
    named_here: list[Item] = [
        version for version in inventory.versions.values() if version.name == LEDGER
    ]
    texts = list(inventory.model_tags.values())
    texts += [version.tags for version in inventory.versions.values()]
    for tags in texts:
        for key, text in tags.items():
            if key.startswith("decision"):
                named_here += _of_decision(text, inventory)
    return named_here


def _of_decision(text: str, inventory: Inventory) -> Iterator[Item]:
    try:
        values = json.loads(text)
        model, numbers = values["model"], (values.get("before"), values.get("version"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    for number in numbers:
        version = inventory.versions.get(f"models:/{model}/{number}")
        if version is not None:
            yield version


def _named_in(texts: Iterable[str], inventory: Inventory) -> Iterator[Item]:
    for text in texts:
        for run_id in RUN_ID.findall(text):
            if run_id in inventory.runs:
                yield inventory.runs[run_id]
        for name, number in VERSION.findall(text):
            version = inventory.versions.get(f"models:/{name}/{number}")
            if version is not None:
                yield version


def _depth(run: RunFacts, runs: Mapping[str, RunFacts]) -> int:
    depth, seen = 0, {run.id}
    while run.parent_id in runs and run.parent_id not in seen:
        run = runs[run.parent_id]
        seen.add(run.id)
        depth += 1
    return depth
