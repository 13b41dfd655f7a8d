"""Decides about aliases: promote, roll back. Every decision is kept with its figures."""

import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from vertiform.errors import TrackingError, did_you_mean
from vertiform.evaluation.verdict import GateRow, Verdict
from vertiform.tracking.chain import Action, Decision, Entry
from vertiform.tracking.limits import shortened
from vertiform.tracking.moves import Lost, Standing, carry_out, record, settled
from vertiform.tracking.registry import (
    LADDER,
    PRODUCTION,
    STAGING,
    Version,
    find_version,
)
from vertiform.tracking.runs import who
from vertiform.tracking.store import Store, errors_named

REASON_CHARACTERS = 2000
MAX_TRIES = 3  # decisions that one command takes while others keep coming first

logger = logging.getLogger(__name__)

Decide = Callable[[], Verdict]
"""Gathers the evidence and asks the gates; called again if what stands at the alias changed."""


def promote(
    store: Store, version: Version, *, alias: str, decide: Decide, reason: str, force: bool = False
) -> Entry:
    """Move `alias` to `version` if every gate agrees; keep the decision either way.

    force: move although gates say no; the decision says so. A model whose run is gone or whose
    files are damaged never moves: TrackingError. So does the third time that others came first.
    """
    _check_alias(alias)
    _check_run(store, version)
    lost: Lost | None = None
    for _ in range(MAX_TRIES):
        standing = settled(store, version.name)
        verdict = _with_ladder(decide(), standing, version, alias)
        moves = verdict.passed or force
        decision = replace(
            _decision(store, "moved" if moves else "refused", version, alias, standing, reason),
            verdict=verdict.to_json(),
            forced=force and not verdict.passed,
        )
        try:
            entry = record(store, standing, decision)
        except Lost as error:
            lost = error
            logger.warning("Deciding again: %s meanwhile.", error.told)
            continue
        if moves:
            carry_out(store, entry, version)
        return entry
    raise TrackingError(
        f"{MAX_TRIES} times others came first; the last: {lost and lost.told}.",
        fix=f"see `vertiform history {version.name}`, then run the command again.",
    )


def rollback(store: Store, name: str, alias: str, *, reason: str) -> Entry:
    """Give `alias` back to what stood there before; the two swap places.

    It is for emergencies: no gate is asked, and a run that is gone does not stop it. The files are
    read back all the same. Raises TrackingError if someone else moved the alias meanwhile.
    """
    standing = settled(store, name)
    version = find_version(store, name, _stood_before(standing, name, alias))
    decision = _decision(store, "rolled back", version, alias, standing, reason)
    try:
        entry = record(store, standing, decision)
    except Lost as error:
        raise TrackingError(
            f"Not rolled back: {error.told} meanwhile.",
            fix=f"see `vertiform history {name}`; run it again if you still want to go back.",
        ) from None
    carry_out(store, entry, version)
    return entry


def _decision(
    store: Store, action: Action, version: Version, alias: str, standing: Standing, reason: str
) -> Decision:
    return Decision(
        id=uuid.uuid4().hex,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=_who(store),
        process=f"{socket.gethostname()} {os.getpid()}",
        action=action,
        model=version.name,
        alias=alias,
        before=standing.holder(alias),
        version=version.number,
        reason=shortened(reason, REASON_CHARACTERS, whole_in="nothing else"),
    )


def _who(store: Store) -> str:
    """Name the user of the server, or of this machine where there is none."""
    on_server = os.environ.get("MLFLOW_TRACKING_USERNAME") if store.artifacts is None else None
    return on_server or who()


def _with_ladder(verdict: Verdict, standing: Standing, version: Version, alias: str) -> Verdict:
    """Add the gate that only the registry can ask: production is reached through staging."""
    if alias != PRODUCTION:
        return verdict
    at_staging = standing.holder(STAGING)
    passed = at_staging == version.number
    there = f"version {at_staging}" if at_staging else "nobody"
    reason = "it stands there" if passed else f"{there} stands there: promote it to staging first"
    row = GateRow("stands_at_staging", None, None, None, passed, reason)
    return replace(verdict, rows=(*verdict.rows, row))


def _stood_before(standing: Standing, name: str, alias: str) -> int:
    now = standing.holder(alias)
    if now is None:
        there = [each for each in LADDER if standing.holder(each)]
        raise TrackingError(
            f"No version of {name} stands at `{alias}`.",
            fix=did_you_mean(alias, there) if there else "promote one first.",
        )
    before = standing.chain.before_holder(alias)
    if before is None:
        raise TrackingError(
            f"Nothing stood at `{alias}` of {name} before version {now}.",
            fix=f"see `vertiform history {name}`, and promote the version you want.",
        )
    return before


def _check_alias(alias: str) -> None:
    if alias not in LADDER:
        raise TrackingError(
            f"`{alias}` is not an alias that decisions move.", fix=did_you_mean(alias, LADDER)
        )


def _check_run(store: Store, version: Version) -> None:
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            run = store.client.get_run(version.run_id)
            is_there = run.info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            is_there = False
    if not is_there:
        raise TrackingError(
            f"The run {version.run_id} that made {version.uri} is gone from {store.name}.",
            fix=f"make it again with `{version.rebuild}`, and promote that version.",
        )
