"""vertiform sync: sends what MLflow does not have yet, and ends the runs whose process is gone."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import session
from vertiform.errors import EXIT_DONE, TrackingError

if TYPE_CHECKING:
    from vertiform.tracking.shipping import Shipment
    from vertiform.tracking.store import Store

SECONDS_FOR_THE_OTHER = 30.0  # that another process that ships is waited for
SECONDS_BETWEEN_LINES = 5.0


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    session.add_tracking_option(parser)
    parser.add_argument(
        "journals",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="journals, copied from another machine for example; all below runs/journals",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="send everything once more, to a store that was put back to an earlier state",
    )
    parser.add_argument(
        "--anew",
        action="store_true",
        help="send the named journals as new runs, to a store that does not know theirs any more",
    )


def run(options: argparse.Namespace) -> int:
    """Send everything. Exit code 2 if the store does not take it."""
    from vertiform.tracking.shipper import journals_of, shipping_lock

    if options.anew and not options.journals:
        raise TrackingError(
            "--anew makes new runs, and no journal is named.",
            fix="name the folders below runs/journals whose runs the store does not know.",
        )
    store = session.asked_store(options, must_exist=False)
    journals = journals_of(Path.cwd())
    lock = shipping_lock(journals, store)
    waited_until = time.monotonic() + SECONDS_FOR_THE_OTHER
    while not lock.acquire():
        if time.monotonic() > waited_until:
            raise TrackingError(
                f"Another process is sending the journals below {journals}.",
                fix=f"see {journals}/shipper.log for how far it is, or end that process.",
            )
        time.sleep(0.2)
    try:
        _send(store, _chosen(options, store, journals), options)
    finally:
        lock.release()
    return EXIT_DONE


def _chosen(options: argparse.Namespace, store: "Store", journals: Path) -> "list[Shipment]":
    from vertiform.tracking.journal import LINES
    from vertiform.tracking.shipper import all_journals, unshipped
    from vertiform.tracking.shipping import Shipment

    for folder in options.journals:
        if not (folder / LINES).is_file():
            raise TrackingError(
                f"{folder} is no journal: it has no {LINES}.",
                fix="name a folder below runs/journals, or give none to send all of them.",
            )
    found = options.journals or (
        all_journals(journals, store.name) if options.again else unshipped(journals, store.name)
    )
    return [Shipment(store, folder) for folder in found]


def _prepare(shipment: "Shipment", options: argparse.Namespace) -> None:
    if options.anew:
        for name in shipment.send_anew():
            print(f"{shipment.folder}: {name} stays with the old run; it is no longer here")
    elif options.again:
        shipment.send_again()


def _send(store: "Store", shipments: "list[Shipment]", options: argparse.Namespace) -> None:
    from vertiform.tracking.shipped import NotYetError, RunGoneError

    sent = failed = 0
    trouble = ""
    fix = "see that it answers and lets you in, then run `vertiform sync` again; it goes on."
    for shipment in shipments:
        try:
            _prepare(shipment, options)
            _send_one(shipment)
        except NotYetError as error:
            failed, trouble = failed + 1, str(error)
            if isinstance(error, RunGoneError):
                fix = f"`vertiform sync --anew {shipment.folder}` sends it as a new run."
        else:
            sent += 1
            print(f"{shipment.folder}: run {shipment.state.run_id}, {_state_of(shipment)}")
    if failed:
        raise TrackingError(
            f"{store.name} does not take {failed} of {len(shipments)} journals: {trouble}.",
            fix=fix,
        )
    print(f"{store.name} has all of {sent} journals." if sent else "There is nothing to send.")


def _send_one(shipment: "Shipment") -> None:
    """Send one to its end, with a line now and then; end its run if its process is gone."""
    from vertiform.tracking.journal import OWNER
    from vertiform.tracking.locks import is_locked

    shown = time.monotonic()
    while True:
        is_gone = not is_locked(shipment.folder / OWNER)
        shipment.ship(max_seconds=1.0, is_owner_gone=is_gone)
        if not shipment.bytes_left and (shipment.state.is_ended or not is_gone):
            return
        if time.monotonic() - shown > SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"{shipment.folder.name}: {shipment.bytes_left / 1e6:.1f} MB left", flush=True)


def _state_of(shipment: "Shipment") -> str:
    refused = f", {shipment.state.refused} refused" if shipment.state.refused else ""
    return ("ended" if shipment.state.is_ended else "still going on") + refused
