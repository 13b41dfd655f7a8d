"""Whose run it is: two machines that hold copies of one journal must not both add to its run."""

import os
import re
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from vertiform.tracking.store import Store

OWNER_TAG = "vertiform.owner"  # the process whose steps the run shows
SEEN_TAG = "vertiform.seen"  # UTC seconds at which it was seen alive
SECONDS_BETWEEN_SIGNS = 30.0
SECONDS_UNTIL_SILENT = 90.0


def other_owner(store: Store, run_id: str, *, ours: Collection[str]) -> str | None:
    """Return who else has this run and was seen alive within 90 seconds; None if nobody."""
    tags = store.client.get_run(run_id).data.tags
    owner = tags.get(OWNER_TAG)
    is_silent = time.time() - float(tags.get(SEEN_TAG, 0)) > SECONDS_UNTIL_SILENT
    return None if owner is None or owner in ours or is_silent else owner


def ours_of(owners: Sequence[str]) -> list[str]:
    """Return those owners of a journal, the last one its present owner, that it may go on from.

    A former owner counts if it is surely gone: a process of this machine that lives no more. One
    that lives may have the journal that this one is a copy of.
    """
    *former, present = owners
    return [present, *(owner for owner in former if _is_surely_gone(owner, present))]


def is_same_process(owner: str, other: str) -> bool:
    """Say whether both name one process, whenever each was written."""
    return owner == other or (_process(owner) is not None and _process(owner) == _process(other))


def _is_surely_gone(owner: str, present: str) -> bool:
    was, now = _process(owner), _process(present)
    if was is None or was[0] != socket.gethostname():
        return False
    if was == now:  # one process that ran the run twice, one after another
        return True
    with suppress(PermissionError):  # somebody else's process, which lives
        try:
            os.kill(was[1], 0)
        except ProcessLookupError:
            return True
    return False


def _process(owner: str) -> tuple[str, int] | None:
    """Host and number of a process, from what locks.Holder says of it."""
    found = re.fullmatch(r"process (\d+) on (\S+) since .*", owner)
    return (found[2], int(found[1])) if found else None


def signs_of(owner: str) -> dict[str, str]:
    """The tags that say that `owner` is alive now."""
    return {OWNER_TAG: owner, SEEN_TAG: str(int(time.time()))}
