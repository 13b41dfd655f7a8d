"""Carries a decision out: the protocol under which an alias moves (docs/decisions/0010).

Wait until nobody is in the middle of a move; decide; append the decision to the ledger; if another
came first, it is void. Then read the files back, look that nobody took over meanwhile (the fence),
set the alias, and mark the entry applied. A move that is not finished within the lease counts as
abandoned: the next decision goes on from what stands at the alias.
"""

import logging
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vertiform.errors import TrackingError
from vertiform.tracking.chain import APPLIED, WITHDRAWN, Chain, Decision, Entry
from vertiform.tracking.ledger import append, mark, read_chain
from vertiform.tracking.registry import (
    LADDER,
    PRODUCTION,
    STAGING,
    Version,
    aliases_of,
    set_alias,
    verified_files,
)
from vertiform.tracking.store import Store, errors_named

LEASE_SECONDS = 30.0  # that a move may take before another may go on without it
POLL_SECONDS = (0.05, 1.0)  # between two looks while waiting; longer each time, so that many
# who wait do not keep a server from the one that moves
SECONDS_TO_APPEND = 60.0

logger = logging.getLogger(__name__)


class Lost(Exception):  # noqa: N818 - no error: the decider decides again
    """Another decision came first and changed what this one rested on."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told


@dataclass(frozen=True)
class Standing:
    """What stands where, at a moment when nobody was in the middle of a move."""

    chain: Chain
    aliases: Mapping[str, int]  # MLflow's

    def holder(self, alias: str) -> int | None:
        """Return the version at the alias; MLflow's word counts only until the first decision."""
        entry = self.chain.holder(alias)
        return entry.decision.version if entry else self.aliases.get(alias)

    def strays(self) -> dict[str, int]:
        """Return the aliases that do not stand where the ledger says, with where they should."""
        holders = {alias: self.holder(alias) for alias in LADDER}
        return {a: at for a, at in holders.items() if at and at != self.aliases.get(a)}

    def grounds(self, alias: str) -> tuple[int | None, ...]:
        """Return all that a decision about `alias` rests on: if it changed, decide again."""
        rests_on = (alias, STAGING) if alias == PRODUCTION else (alias,)
        return tuple(self.holder(each) for each in rests_on)


def settled(store: Store, model: str) -> Standing:
    """Wait until nobody is in the middle of a move; put right what a crash left; say what stands.

    Raises TrackingError if the ledger was changed.
    """
    standing = _when_nobody_moves(store, model)
    if _finish_abandoned(store, standing) or (standing.strays() and repair(store, model)):
        return _read(store, model)
    return standing


def record(store: Store, standing: Standing, decision: Decision) -> Entry:
    """Append the decision so that it counts. Raises Lost if what it rests on changed meanwhile."""
    deadline = time.monotonic() + SECONDS_TO_APPEND
    grounds = standing.grounds(decision.alias)
    while True:
        head = standing.chain.head
        base, sha256 = (head.number, head.sha256) if head else (0, "")
        append(store, replace(decision, base=base, base_sha256=sha256))
        entry = read_chain(store, decision.model).find(decision.id)
        if entry is not None:
            return entry
        standing = settled(store, decision.model)
        if standing.grounds(decision.alias) != grounds:
            raise Lost(_who_changed(standing.chain, decision.alias))
        if time.monotonic() > deadline:
            raise TrackingError(
                f"For {SECONDS_TO_APPEND:.0f} s others kept deciding about {decision.model} first.",
                fix="run the same command again.",
            )


def carry_out(store: Store, entry: Entry, version: Version) -> None:
    """Move the alias as the entry says: last, and only if the files are whole and nobody took over.

    If the files are damaged or the right is missing, the entry is withdrawn and nothing moves.
    """
    with _withdrawn_on_error(store, entry):
        with verified_files(store, version):
            pass
        later = read_chain(store, version.name).moves_after(entry)
        if later:
            raise _overtaken(entry, later[-1])
    _set(store, entry)
    mark(store, entry, APPLIED, _now())
    _set_previous(store, entry.decision)
    _take_back_if_late(store, entry)


def repair(store: Store, model: str) -> list[str]:
    """Give each alias to the version that the ledger says stands there. Returns what it did.

    An alias is out of place if someone set it by hand, or if a process slept in the middle of its
    move for longer than the lease and died as it woke. Nothing is touched while a move is on.
    """
    done: dict[tuple[str, int], str] = {}
    while True:
        before = _read(store, model)
        standing = _read(store, model)
        if before != standing or any(_lease_left(e) > 0 for e in standing.chain.unfinished()):
            break  # somebody moves just now, and sets the alias
        strays = [stray for stray in standing.strays().items() if stray not in done]
        if not strays:
            break
        for alias, number in strays:
            done[alias, number] = _put_back(store, model, alias, number)
    return list(done.values())


def _when_nobody_moves(store: Store, model: str) -> Standing:
    first_seen: dict[int, float] = {}
    pause, longest = POLL_SECONDS
    while True:
        standing = _read(store, model)
        waits = []
        for entry in standing.chain.unfinished():
            now = time.monotonic()
            if entry.number not in first_seen:
                logger.info("Waiting for a move to finish: %s.", entry.told)
            # Whatever the clocks say, one lease is enough: one of them may have been set back.
            own = first_seen.setdefault(entry.number, now) + LEASE_SECONDS - now
            waits.append(min(_lease_left(entry), own))
        if max(waits, default=0) <= 0:
            return standing
        time.sleep(min(random.uniform(pause / 2, pause), max(waits)))
        pause = min(1.5 * pause, longest)


def _read(store: Store, model: str) -> Standing:
    aliases = aliases_of(store, model)
    chain = read_chain(store, model)
    if chain.broken:
        raise TrackingError(
            f"The ledger of decisions in {store.name} was changed: {chain.broken[0]}",
            fix=f"`vertiform history {model} --verify` tells all; put back a backup of the store.",
        )
    return Standing(chain, aliases)


def _lease_left(entry: Entry) -> float:
    """Return the seconds that others still wait for an unfinished move.

    By the clocks of two machines, so only a courtesy: what keeps a late process out is the fence.
    """
    age = max(0.0, time.time() - entry.created)  # a clock set back makes no one wait longer
    return LEASE_SECONDS - age


def _finish_abandoned(store: Store, standing: Standing) -> bool:
    """Mark the moves that were carried out by processes that died before they could say so."""
    done = [
        entry
        for entry in standing.chain.unfinished()
        if standing.aliases.get(entry.decision.alias) == entry.decision.version
    ]
    for entry in done:
        logger.warning("Finishing: %s, but never said that it was done.", entry.told)
        mark(store, entry, APPLIED, f"{_now()}, found moved")
    return bool(done)


def _take_back_if_late(store: Store, entry: Entry) -> None:
    """Put the alias right if this process slept between the fence and the move, past its lease."""
    decision = entry.decision
    later = read_chain(store, decision.model).moves_after(entry)
    if not later:
        return
    # Who moved it after us went on from our version; who took over went on from another.
    took_over = later[0].decision.before != decision.version
    if repair(store, decision.model) or took_over:
        raise _overtaken(entry, later[-1])


def _overtaken(entry: Entry, later: Entry) -> TrackingError:
    decision = entry.decision
    return TrackingError(
        f"{later.told}, because this move was not finished within {LEASE_SECONDS:.0f} s.",
        fix=f"see `vertiform history {decision.model}`; decide again if you still want "
        f"version {decision.version} there.",
    )


@contextmanager
def _withdrawn_on_error(store: Store, entry: Entry) -> Iterator[None]:
    """Take the entry back if the block fails: nobody needs to wait for its move."""
    try:
        yield
    except TrackingError as error:
        mark(store, entry, WITHDRAWN, error.problem)
        raise


def _set(store: Store, entry: Entry) -> None:
    """Set the alias. An error that leaves open whether it was set leaves the entry unfinished."""
    from mlflow.exceptions import MlflowException

    decision = entry.decision
    try:
        set_alias(store, decision.model, decision.alias, decision.version)
    except MlflowException as error:
        if error.error_code == "PERMISSION_DENIED":
            with _withdrawn_on_error(store, entry), errors_named(store.uri):
                raise
        with errors_named(store.uri):
            raise


def _set_previous(store: Store, decision: Decision) -> None:
    """Keep what stood there within reach of MLflow's own commands; the ledger knows it anyway."""
    from mlflow.exceptions import MlflowException

    if decision.before is None or decision.before == decision.version:
        return
    alias = f"previous-{decision.alias}"
    try:
        with errors_named(store.uri):
            set_alias(store, decision.model, alias, decision.before)
    except MlflowException as error:  # that version was deleted
        logger.warning("`%s` does not stand at %s: %s", alias, decision.before, error.message)


def _put_back(store: Store, model: str, alias: str, number: int) -> str:
    from mlflow.exceptions import MlflowException

    try:
        with errors_named(store.uri):
            set_alias(store, model, alias, number)
        said = f"`{alias}` of {model} is back at version {number}, where the ledger says it stands."
    except MlflowException as error:
        said = f"`{alias}` of {model} cannot go back to version {number}: {error.message}"
    logger.warning("%s", said)
    return said


def _who_changed(chain: Chain, alias: str) -> str:
    aliases = (alias, STAGING) if alias == PRODUCTION else (alias,)
    moves = [move for each in aliases if (move := chain.holder(each))]
    if not moves:
        return f"someone set `{alias}` by hand"
    return max(moves, key=lambda entry: entry.number).told


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
