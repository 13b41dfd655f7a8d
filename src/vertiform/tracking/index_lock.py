"""One process at a time brings an index up to date; this is how the others know."""

import fcntl
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vertiform.tracking.index_file import file_errors_named

SECONDS_FOR_OTHERS = 5.0  # that a refresh waits for another process's

logger = logging.getLogger(__name__)


@contextmanager
def refresh_lock(file: Path, *, patiently: bool) -> Iterator[bool]:
    """Be the one process that refreshes the index at `file`; False if another still is.

    patiently: wait for as long as it takes, for an index that cannot answer yet.
    """
    with file_errors_named(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_suffix(".lock").open("a") as lock:
            yield _is_locked(lock.fileno(), file, patiently=patiently)  # closing lets go


def _is_locked(descriptor: int, file: Path, *, patiently: bool) -> bool:
    give_up_at = time.monotonic() + SECONDS_FOR_OTHERS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < give_up_at:
                time.sleep(0.05)
                continue
        else:
            return True
        if not patiently:
            return False
        logger.info("Another process is building %s; waiting for it.", file)
        give_up_at = math.inf
