"""Whose run it is: two machines that hold copies of one journal must not both add to its run."""

import time
from collections.abc import Collection

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


def signs_of(owner: str) -> dict[str, str]:
    """The tags that say that `owner` is alive now."""
    return {OWNER_TAG: owner, SEEN_TAG: str(int(time.time()))}
