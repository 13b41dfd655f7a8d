"""What this machine remembers of the ledger, so that a database from an old backup is noticed.

A chain of hashes shows that an entry was changed, but not that the last ones are gone: a backup is
whole in itself. So the last entry seen is kept outside the database, in a small file a model.
"""

import hashlib
from pathlib import Path

from vertiform.errors import TrackingError
from vertiform.files import read_json, write_json
from vertiform.tracking.chain import Chain, Entry
from vertiform.tracking.store import Store

FOLDER = Path("runs/ledger")  # below a project's root


def store_key(store: Store) -> str:
    """Return a short name of the store that no credentials can be read from."""
    return hashlib.sha256(store.name.rstrip("/").encode()).hexdigest()[:12]


def remember(root: Path, store: Store, entry: Entry) -> None:
    """Keep the entry as the last one seen, unless a later one was."""
    path = _path(root, store, entry.decision.model)
    if path.is_file() and read_json(path)["entry"] > entry.number:
        return
    write_json(path, {"entry": entry.number, "sha256": entry.sha256, "told": entry.told})


def check_remembered(root: Path, store: Store, chain: Chain) -> None:
    """Raise TrackingError if the ledger lacks the last entry that was seen from here."""
    path = _path(root, store, chain.model)
    if not path.is_file():
        return
    seen = read_json(path)
    if is_in(chain, seen["entry"], seen["sha256"]):
        return
    last = f"ends at entry {chain.head.number}" if chain.head else "is empty"
    raise TrackingError(
        f"{store.name} is older than what was seen from here, or was changed: {seen['told']}, "
        f"but its ledger of {chain.model} {last}.",
        fix=f"put back the newer database; if it is lost, delete {path} and promote again what "
        "should stand.",
    )


def is_in(chain: Chain, number: int, sha256: str) -> bool:
    """Say whether the ledger holds this very entry."""
    return any(each.number == number and each.sha256 == sha256 for each in chain.entries)


def _path(root: Path, store: Store, model: str) -> Path:
    return root / FOLDER / store_key(store) / f"{model}.json"
