"""Moves aliases, keeps every decision with its figures, and can take a move back."""

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from vertiform.errors import TrackingError, did_you_mean
from vertiform.evaluation.tables import markdown_table
from vertiform.evaluation.verdict import Verdict, verdict_table
from vertiform.tracking.limits import shortened
from vertiform.tracking.registry import (
    ALIASES,
    Version,
    aliases_of,
    all_versions,
    find_version,
    verified_files,
)
from vertiform.tracking.runs import who
from vertiform.tracking.store import Store, errors_named

TAG = "decision."  # a tag each, never changed: two who write at once cannot lose one
REASON_CHARACTERS = 2000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """One decision about an alias: moved, refused, or rolled back."""

    id: str  # sorts by time
    when: str  # UTC, ISO 8601
    who: str
    action: Literal["moved", "refused", "rolled back"]
    model: str
    alias: str
    before: int | None  # the version at the alias until then
    version: int  # the version that asked for it, or that was rolled back to
    reason: str
    verdict: Mapping[str, Any] = field(default_factory=dict)  # Verdict.to_json(), every figure

    @property
    def after(self) -> int | None:
        """The version at the alias from then on."""
        return self.before if self.action == "refused" else self.version


def promote(store: Store, version: Version, *, verdict: Verdict, reason: str) -> Decision:
    """Move the verdict's alias to `version` if every gate passed; keep the decision either way.

    The files are read back first and the alias moves last. What stood there becomes
    previous-<alias>. Raises TrackingError if the files are damaged or its run is gone.
    """
    if verdict.alias not in ALIASES:
        raise TrackingError(
            f"`{verdict.alias}` is not an alias of ours.", fix=did_you_mean(verdict.alias, ALIASES)
        )
    _check_run(store, version)
    before = aliases_of(store, version.name).get(verdict.alias)
    decision = replace(
        _decision("moved" if verdict.passed else "refused", version, verdict.alias, before, reason),
        verdict=verdict.to_json(),
    )
    if not verdict.passed:
        _record(store, decision, version, verdict_table(verdict, as_markdown=True))
        return decision
    with verified_files(store, version):
        _record(store, decision, version, verdict_table(verdict, as_markdown=True))
        _move(store, decision)
    return decision


def rollback(store: Store, name: str, alias: str, *, reason: str) -> Decision:
    """Give `alias` back to previous-<alias>, verified first; the two swap places."""
    aliases = aliases_of(store, name)
    if alias not in aliases:
        raise TrackingError(
            f"No version of {name} stands at `{alias}`.",
            fix=did_you_mean(alias, aliases) if aliases else "promote one first.",
        )
    previous = aliases.get(f"previous-{alias}")
    if previous is None or previous == aliases[alias]:
        raise TrackingError(
            f"Nothing stood at `{alias}` of {name} before version {aliases[alias]}.",
            fix=f"see `vertiform history {name}`, and promote the version you want.",
        )
    version = find_version(store, name, previous)
    decision = _decision("rolled back", version, alias, aliases[alias], reason)
    with verified_files(store, version):
        _record(store, decision, version, "")
        _move(store, decision)
    return decision


def history(store: Store, name: str) -> list[Decision]:
    """Return every decision about the model's aliases, refused ones too, oldest first."""
    aliases_of(store, name)  # says so if the model does not exist
    with errors_named(store.uri):
        entries = dict(store.client.get_registered_model(name).tags)
    for version in all_versions(store, name):  # theirs hold every figure
        entries |= version.tags
    decisions = [Decision(**json.loads(text)) for key, text in entries.items() if _is_decision(key)]
    return sorted(decisions, key=lambda decision: decision.id)


def _decision(
    action: Literal["moved", "refused", "rolled back"],
    version: Version,
    alias: str,
    before: int | None,
    reason: str,
) -> Decision:
    now = datetime.now(UTC)
    return Decision(
        id=f"{now:%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:6]}",
        when=now.isoformat(timespec="seconds"),
        who=who(),
        action=action,
        model=version.name,
        alias=alias,
        before=before,
        version=version.number,
        reason=shortened(reason, REASON_CHARACTERS, whole_in="nothing else"),
    )


def _record(store: Store, decision: Decision, version: Version, table: str) -> None:
    """Keep a decision on the model (short), on the version (whole) and on its run (as files)."""
    key = f"{TAG}{decision.id}"
    whole = json.dumps(asdict(decision), allow_nan=False)
    # MLflow holds 5,000 characters in a model's tag, 100,000 in a version's.
    short = json.dumps(asdict(replace(decision, verdict={})))
    with errors_named(store.uri):
        store.client.set_registered_model_tag(version.name, key, short)
        store.client.set_model_version_tag(version.name, str(version.number), key, whole)
    try:
        with errors_named(store.uri):
            for suffix, text in (("json", whole), ("md", _as_markdown(decision, table))):
                file = f"decisions/{decision.id}.{suffix}"
                store.client.log_text(version.run_id, text, file)
    except Exception as error:
        if decision.action != "rolled back":
            raise
        # A rollback is for emergencies, and the tags hold all of it: a lost run must not stop it.
        logger.warning("The rollback is not kept with run %s: %s", version.run_id, error)


def _move(store: Store, decision: Decision) -> None:
    alias, before, after = decision.alias, decision.before, decision.version
    with errors_named(store.uri):
        if before is not None and before != after:
            set_alias = store.client.set_registered_model_alias
            set_alias(decision.model, f"previous-{alias}", str(before))
        store.client.set_registered_model_alias(decision.model, alias, str(after))


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


def _as_markdown(decision: Decision, table: str) -> str:
    facts = markdown_table(
        ("", ""),
        [
            ["when", decision.when],
            ["who", decision.who],
            ["from", str(decision.before or "nobody")],
            ["to", str(decision.after or "nobody")],
            ["reason", decision.reason],
        ],
    )
    title = f"# {decision.model} version {decision.version}: {decision.action} at {decision.alias}"
    return f"{title}\n\n{facts}\n\n{table}\n"


def _is_decision(key: str) -> bool:
    return key.startswith(TAG)
