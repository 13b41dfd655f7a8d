"""The process that ships: one for each folder of journals and store, apart from those that train.

A process and no thread: building requests costs 30 microseconds a point under Python's one lock,
12% of a step of 5 ms that logs 20 metrics; and it outlives a trainer that is killed, whose run it
ends truthfully. It starts with the first run, serves all that come, and ends when there is nothing
left to do. Whoever trains starts it again if it dies.
"""

import argparse
import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from vertiform.doors import prepare_environment
from vertiform.errors import StorageError
from vertiform.tracking.journal import LINES, OWNER
from vertiform.tracking.journal_lines import first_record
from vertiform.tracking.locks import Lock, is_locked
from vertiform.tracking.shipped import NotYetError, read_shipped
from vertiform.tracking.shipping import Shipment
from vertiform.tracking.store import Store, store_at, without_credentials

JOURNALS = Path("runs") / "journals"  # below a project's root
URI = "VERTIFORM_SHIP_TO"  # environment, as an address may hold a password that `ps` would show
SECONDS_BETWEEN_TURNS = 1.0
SECONDS_IDLE = 5.0  # without a run that is going on, before it ends
SECONDS_LINGERING = 600.0  # that it tries for runs that have ended, at a store that takes nothing
SECONDS_OF_A_TURN = 5.0  # for one journal, before the next has its turn
LONGEST_PAUSE = 16.0  # seconds, between tries at a store that takes nothing
# Of one request, at most. It is made once: the shipper itself tries again, and says why.
SECONDS_OF_A_REQUEST = 30

logger = logging.getLogger(__name__)


def journals_of(root: Path) -> Path:
    """Say where the journals of the project at `root` lie."""
    return root / JOURNALS


def ensure_shipper(store: Store, journals: Path) -> None:
    """Start the process if none serves these journals and this store. Costs a look at a lock."""
    if is_locked(_lock_path(journals, store.name)):
        return
    journals.mkdir(parents=True, exist_ok=True)
    with (journals / "shipper.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "vertiform.tracking.shipper", "--journals", str(journals)],
            cwd=store.root,
            env=os.environ | {URI: store.uri},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for who trains
        )


def all_journals(journals: Path, store_name: str) -> list[Path]:
    """Return the journals of this store, the oldest first."""
    headers = [(first_record(folder / LINES), folder) for folder in journals.glob("*/")]
    ours = [(h["time_ms"], folder) for h, folder in headers if h.get("store") == store_name]
    return [folder for _, folder in sorted(ours)]


def unshipped(journals: Path, store_name: str) -> list[Path]:
    """Return those of which MLflow does not have all."""
    return [folder for folder in all_journals(journals, store_name) if not is_whole(folder)]


def is_whole(folder: Path) -> bool:
    """Say whether MLflow has all of a journal, and the run's final state."""
    state = read_shipped(folder)
    return state.is_ended and state.position >= (folder / LINES).stat().st_size


def shipping_lock(journals: Path, store: Store) -> Lock:
    """The lock of the one process that ships these journals to this store."""
    journals.mkdir(parents=True, exist_ok=True)
    return Lock(_lock_path(journals, store.name))


def _lock_path(journals: Path, store_name: str) -> Path:
    return journals / f".shipper-{hashlib.sha256(store_name.encode()).hexdigest()[:12]}.lock"


def serve(store: Store, journals: Path, lock: Lock) -> None:
    """Ship until nothing is left to do, or until somebody removes the lock that is held."""
    shipments: dict[Path, Shipment] = {}
    pause, idle_since, stuck_since = SECONDS_BETWEEN_TURNS, time.monotonic(), None
    while lock.is_in_place():
        folders = unshipped(journals, store.name)
        shipments = {f: shipments.get(f) or Shipment(store, f) for f in folders}
        before = _bytes_sent(shipments.values())
        is_stuck = not _one_turn(shipments.values())
        if _bytes_sent(shipments.values()) > before:  # it answered, if only for a moment
            pause, stuck_since = SECONDS_BETWEEN_TURNS, None
        now = time.monotonic()
        stuck_since = (stuck_since or now) if is_stuck else None
        pause = min(pause * 2, LONGEST_PAUSE) if is_stuck else SECONDS_BETWEEN_TURNS
        if shipments:
            idle_since = now
        if now - idle_since > SECONDS_IDLE or _gives_up(shipments, stuck_since):
            return
        time.sleep(pause if is_stuck or not _is_behind(shipments.values()) else 0)


def _one_turn(shipments: Iterable[Shipment]) -> bool:
    """Give every journal its turn; False if the store takes nothing."""
    is_taken = True
    for shipment in shipments:
        try:
            shipment.ship(max_seconds=SECONDS_OF_A_TURN)
        except (NotYetError, StorageError) as error:  # the disk of the journal may be full, too
            logger.info("%s: %s", shipment.folder.name, error)
            is_taken = False
        except FileNotFoundError:  # someone removed it
            continue
    return is_taken


def _bytes_sent(shipments: Iterable[Shipment]) -> int:
    return sum(shipment.state.position for shipment in shipments)


def _is_behind(shipments: Iterable[Shipment]) -> bool:
    return any(shipment.bytes_left > 100_000 for shipment in shipments)


def _gives_up(shipments: dict[Path, Shipment], stuck_since: float | None) -> bool:
    """Nobody trains any more, and the store has been away for long: `vertiform sync` goes on."""
    if stuck_since is None or time.monotonic() - stuck_since < SECONDS_LINGERING:
        return False
    return not any(is_locked(folder / OWNER) for folder in shipments)


def main() -> None:
    """Serve, unless another process does."""
    parser = argparse.ArgumentParser(prog="python -m vertiform.tracking.shipper")
    parser.add_argument("--journals", type=Path, required=True)
    journals = parser.parse_args().journals
    prepare_environment()
    _ask_once()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    store = store_at(os.environ.pop(URI), root=Path.cwd())
    lock = shipping_lock(journals, store)
    if lock.acquire():
        logger.info("ships to %s", without_credentials(store.uri))
        try:
            serve(store, journals, lock)
        finally:
            lock.release()


def _ask_once() -> None:
    seconds = min(SECONDS_OF_A_REQUEST, int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]))
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(seconds)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"


if __name__ == "__main__":
    main()
