"""The ledger of decisions: kept in MLflow, where one call gives an entry number and content.

MLflow has no compare-and-set for aliases. But a new version of a registered model is one
transaction with a unique number, in every database and through its server. So each decision is one
version of the registered model LEDGER, and the number says who came first.
"""

import os
from typing import TYPE_CHECKING

from vertiform.errors import TrackingError
from vertiform.evaluation.tables import markdown_table
from vertiform.tracking.chain import Chain, Decision, Entry, chain_of
from vertiform.tracking.limits import REGISTRY_TEXT_CHARACTERS, shortened
from vertiform.tracking.patience import patiently
from vertiform.tracking.registry import LEDGER
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

DECISION = "decision"  # tag: the text that is hashed
MODEL = "model"  # tag, to find a model's entries by
ABOUT = (
    "Every decision of Vertiform about an alias: a version each, never changed. "
    "`vertiform history <model>` shows them, `--verify` checks them."
)
ENTRIES_PER_CALL = 1000


def read_chain(store: Store, model: str) -> Chain:
    """Read every decision about a model; none yet is an empty chain."""
    entries: list[Entry] = []
    token = None
    while True:
        with errors_named(store.uri):
            page = patiently(
                lambda token=token: store.client.search_model_versions(
                    f"name = '{LEDGER}' and tags.{MODEL} = '{model}'",
                    max_results=ENTRIES_PER_CALL,
                    # New ones come last, so that no page misses one that comes meanwhile.
                    order_by=["version_number ASC"],
                    page_token=token,
                )
            )
        entries += map(_entry, page)
        token = page.token
        if not token:
            return chain_of(model, entries)


def append(store: Store, decision: Decision) -> None:
    """Add a decision in one transaction. Whether it counts, the chain read afterwards says."""
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            _create_anyhow(store, decision)
        except MlflowException as error:
            if error.error_code == "PERMISSION_DENIED" and not _is_seen(store):
                raise _not_ours_to_make(store) from error
            raise


def mark(store: Store, entry: Entry, key: str, text: str) -> None:
    """Write what became of an entry beside it."""
    text = shortened(text, REGISTRY_TEXT_CHARACTERS, whole_in="the log")
    with errors_named(store.uri):
        patiently(lambda: store.client.set_model_version_tag(LEDGER, str(entry.number), key, text))


def _create_anyhow(store: Store, decision: Decision) -> None:
    """Make the entry, and the ledger before it if it is the first one."""
    from mlflow.exceptions import MlflowException

    try:
        patiently(lambda: _create(store, decision))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        _create_ledger(store)
        patiently(lambda: _create(store, decision))


def _create(store: Store, decision: Decision) -> None:
    store.client.create_model_version(
        LEDGER,
        # The version decided on: MLflow's page links to it. It takes no address of files here.
        source=f"models:/{decision.model}/{decision.version}",
        tags={DECISION: decision.text(), MODEL: decision.model},
        description=shortened(
            _as_markdown(decision), REGISTRY_TEXT_CHARACTERS, whole_in=f"the tag {DECISION}"
        ),
    )


def _create_ledger(store: Store) -> None:
    from mlflow.exceptions import MlflowException

    try:
        patiently(lambda: store.client.create_registered_model(LEDGER, description=ABOUT))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _is_seen(store: Store) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_registered_model(LEDGER)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED"):
            return False
        raise
    return True


def _not_ours_to_make(store: Store) -> TrackingError:
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "you")
    return TrackingError(
        f"{store.name} has no ledger of decisions (the registered model `{LEDGER}`) that {user} "
        f"can see, and does not let {user} make one.",
        fix=f"let an admin run `python -m scripts.server.accounts {user} promote`, which makes it "
        "(docs/team-server.md says what it needs on another server).",
    )


def _entry(version: "MlflowVersion") -> Entry:
    tags = dict(version.tags)
    text = tags.pop(DECISION, "")
    return Entry(int(version.version), text, tags, version.creation_timestamp / 1000)


def _as_markdown(decision: Decision) -> str:
    facts = markdown_table(
        ("", ""),
        [
            ["when", decision.when],
            ["who", decision.who],
            ["from", str(decision.before or "nobody")],
            ["version", str(decision.version)],
            ["forced", "yes" if decision.forced else "no"],
            ["reason", decision.reason],
        ],
    )
    rows = [
        [row["gate"], "pass" if row["passed"] else "FAIL", row["reason"]]
        for row in decision.verdict.get("rows", ())
    ]
    gates = markdown_table(("gate", "verdict", "reason"), rows) if rows else ""
    title = f"# {decision.model} version {decision.version}: {decision.action} at {decision.alias}"
    return f"{title}\n\n{facts}\n\n{gates}\n"
