"""What the decisions about one model come to: which count, what stands where, what is broken.

Every decision names the one that it follows, by number and by hash. A decision counts if it follows
the last one that counts; one that follows an older one came second, and is void. So whoever reads
the same entries comes to the same chain, without a clock and without a lock.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from vertiform.errors import TrackingError

Action = Literal["moved", "refused", "rolled back"]

# Marks: what became of an entry, written beside it later and no part of its hash.
APPLIED = "applied"  # the alias moved
WITHDRAWN = "withdrawn"  # it did not, and why; the alias stands where it stood
EVENT = "event"  # who was told of it


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision about an alias."""

    id: str
    when: str  # UTC, ISO 8601
    who: str
    process: str  # that decided, as "host 4711": whom to look for if it never finishes
    action: Action
    model: str
    alias: str
    before: int | None  # the version at the alias when it was decided
    version: int  # that asked for the alias, or that was rolled back to
    reason: str
    forced: bool = False  # moved although gates said no
    verdict: Mapping[str, Any] = field(default_factory=dict)  # Verdict.to_json(), every figure
    base: int = 0  # number of the entry that it follows; 0 for the first
    base_sha256: str = ""  # of that entry's text

    @property
    def moves(self) -> bool:
        """Whether it gives the alias to its version."""
        return self.action != "refused"

    def text(self) -> str:
        """Write it as it is kept and hashed: canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Entry:
    """A decision with the number under which it is kept. Numbers are given one at a time."""

    number: int
    text: str
    marks: Mapping[str, str]
    created: float  # seconds since 1970, by the clock of the store

    @cached_property
    def decision(self) -> Decision:
        """Read the decision. Raises TrackingError if the text is none."""
        try:
            return Decision(**json.loads(self.text))
        except (ValueError, TypeError):
            raise TrackingError(
                f"Entry {self.number} of the ledger of decisions is not one that Vertiform wrote.",
                fix="put back a backup of the store from before it was changed.",
            ) from None

    @cached_property
    def sha256(self) -> str:
        """Hash the text; the decision that follows carries it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def is_applied(self) -> bool:
        """Whether its alias moved."""
        return APPLIED in self.marks

    @property
    def told(self) -> str:
        """Say in one phrase who did what, and when."""
        decision = self.decision
        return (
            f"{decision.who} {decision.action} `{decision.alias}` to version {decision.version} "
            f"at {decision.when} (entry {self.number})"
        )


@dataclass(frozen=True)
class Chain:
    """Every entry about one model, by number, and those of them that count."""

    model: str
    entries: tuple[Entry, ...]
    links: tuple[Entry, ...]
    broken: tuple[str, ...]  # what was changed or taken away later, one sentence each

    @property
    def head(self) -> Entry | None:
        """The last entry that counts."""
        return self.links[-1] if self.links else None

    def moves(self, alias: str) -> list[Entry]:
        """Return the decisions that gave, or were to give, the alias away, withdrawn ones not."""
        return [
            entry
            for entry in self.links
            if entry.decision.alias == alias
            and entry.decision.moves
            and WITHDRAWN not in entry.marks
        ]

    def holder(self, alias: str) -> Entry | None:
        """Return the last move of the alias that was carried out."""
        return next((entry for entry in reversed(self.moves(alias)) if entry.is_applied), None)

    def before_holder(self, alias: str) -> int | None:
        """Return the version that stood at the alias before the one that stands there."""
        for entry in reversed(self.moves(alias)):
            if entry.is_applied and entry.decision.before != entry.decision.version:
                return entry.decision.before
        return None

    def unfinished(self) -> list[Entry]:
        """Return each alias's last move if it was not carried out yet."""
        aliases = {entry.decision.alias for entry in self.links}
        last = [moves[-1] for alias in sorted(aliases) if (moves := self.moves(alias))]
        return [entry for entry in last if not entry.is_applied]

    def moves_after(self, entry: Entry) -> list[Entry]:
        """Return the moves of the same alias that count and come after `entry`."""
        return [each for each in self.moves(entry.decision.alias) if each.number > entry.number]

    def find(self, decision_id: str) -> Entry | None:
        """Return the entry of a decision if it counts."""
        return next((entry for entry in self.links if entry.decision.id == decision_id), None)

    def winner_over(self, entry: Entry) -> Entry | None:
        """Return the entry that took the place of a void one; None for one that counts."""
        if entry in self.links:
            return None
        rivals = (link for link in self.links if link.decision.base == entry.decision.base)
        return next(rivals, self.head)


def chain_of(model: str, entries: Iterable[Entry]) -> Chain:
    """Find the entries that count, and what is broken, among all those of a model."""
    ordered = sorted(entries, key=lambda entry: entry.number)
    links: list[Entry] = []
    broken = []
    for entry in ordered:
        decision, head = entry.decision, links[-1] if links else None
        if decision.base == (head.number if head else 0):
            if head and decision.base_sha256 != head.sha256:
                broken.append(
                    f"Entry {head.number} was changed after entry {entry.number} followed it."
                )
            links.append(entry)
        elif decision.base not in (0, *(link.number for link in links)):
            gone = f"Entry {entry.number} follows entry {decision.base}, which is gone."
            broken.append(gone)
            if decision.base > (head.number if head else 0):
                links.append(entry)  # it counted, and so does what follows it
        if decision.model != model:
            broken.append(f"Entry {entry.number} is about {decision.model}, not {model}.")
    return Chain(model, tuple(ordered), tuple(links), tuple(broken))
