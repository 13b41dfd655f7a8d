"""What a run hears of its journal's way to MLflow, and how long it waits for it at its end."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vertiform.tracking.journal import LINES
from vertiform.tracking.shipped import NotYetError, Shipped, read_shipped
from vertiform.tracking.shipper import ensure_shipper, is_whole
from vertiform.tracking.shipping import Shipment
from vertiform.tracking.store import Store

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_LINES = 5.0  # of progress at a run's end
SECONDS_WITHOUT_PROGRESS = 60.0  # that the end of a run waits for a store that takes nothing
SECONDS_IN_TROUBLE = 10.0  # the same, where it is known that it takes nothing

logger = logging.getLogger(__name__)


class Carrier(Protocol):
    """Has a journal brought to MLflow."""

    def stop(self) -> None:
        """Bring no more than what is there: the journal is closed."""
        ...

    def wait_for_id(self) -> None:
        """Wait until MLflow has given the run its id, or nothing moves any more."""
        ...

    def wait_until_whole(self) -> Shipped:
        """Wait until MLflow has all of it, or nothing moves any more; return how far it is."""
        ...


class InBackground:
    """Lets the shipper's process do it, and sees that there is one."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._stopped = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._watch, name="shipping", daemon=True)
        ensure_shipper(store, folder.parent)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; the process goes on by itself."""
        self._stopped.set()
        self._thread.join()

    def wait_for_id(self) -> None:
        """Look for it until the process has written it."""
        self._waited(lambda state: state.run_id is not None, what="")

    def wait_until_whole(self) -> Shipped:
        """Show how many bytes are left, and go on as long as they become fewer."""
        return self._waited(lambda _: is_whole(self._folder), what="sending what was logged")

    def _waited(self, is_done: Callable[[Shipped], bool], *, what: str) -> Shipped:
        state = read_shipped(self._folder)
        moved = shown = time.monotonic()
        while not is_done(state):
            ensure_shipper(self._store, self._folder.parent)
            time.sleep(0.05)
            before, state = state, read_shipped(self._folder)
            now = time.monotonic()
            moved = now if state.position > before.position else moved
            if now - moved > (SECONDS_IN_TROUBLE if state.trouble else SECONDS_WITHOUT_PROGRESS):
                break
            if what and now - shown > SECONDS_BETWEEN_LINES:
                shown = now
                left = (self._folder / LINES).stat().st_size - state.position
                logger.info("%s: %.1f MB left", what, left / 1e6)
        return state

    def _watch(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            ensure_shipper(self._store, self._folder.parent)
            self._say(read_shipped(self._folder).trouble)

    def _say(self, trouble: str) -> None:
        """One line when the store stops taking, one when it takes again."""
        if trouble and not self._said:
            logger.warning(
                "%s takes nothing now: %s. Training goes on; what is logged is kept in %s and "
                "sent when it answers.",
                *(self._store.name, trouble, self._folder),
            )
        elif self._said and not trouble:
            logger.warning("%s takes what is logged again.", self._store.name)
        self._said = trouble


class InPlace:
    """Does it in this process, when asked: for the few things that are added to an ended run."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._shipment = Shipment(store, folder)
        self._is_owner_gone = False

    def stop(self) -> None:
        """There is nothing to stop."""

    def wait_for_id(self) -> None:
        """Ship up to now, which creates the run."""
        self._ship()

    def wait_until_whole(self) -> Shipped:
        """Ship all of it."""
        self._ship()
        return self._shipment.state

    def _ship(self) -> None:
        give_up = time.monotonic() + SECONDS_IN_TROUBLE
        while True:
            try:
                while self._shipment.bytes_left:
                    if not self._shipment.ship(max_seconds=60, is_owner_gone=False):
                        time.sleep(0.05)  # the shipper's process has it
                return
            except NotYetError:
                if time.monotonic() > give_up:
                    return
                time.sleep(1)
