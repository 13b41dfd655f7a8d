"""Which runs were changed after they had ended, as whoever changed them notes beside the index."""

import os
import re
from pathlib import Path

from vertiform.tracking.index_file import place_of
from vertiform.tracking.store import Store

RUN_ID = re.compile(r"[0-9a-f]{32}")


def mark_changed(store: Store, run_id: str, *, root: Path | None = None) -> None:
    """Note that a run which may have ended was changed, so that the next refresh reads it again.

    Costs one appended line; MLflow keeps no time at which a run was changed. Safe from any process.
    """
    file = changes_of(place_of(store, root=root))
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, f"{run_id}\n".encode())  # one write: lines of two processes stay whole
    finally:
        os.close(descriptor)


def changes_of(index: Path) -> Path:
    """Say where the changed runs of the index at `index` are noted."""
    return index.with_suffix(".changed")


def read_changes(file: Path, position: int) -> tuple[set[str], int]:
    """Return the runs noted after `position`, and the position after them."""
    if not file.is_file():
        return set(), 0
    with file.open("rb") as noted:
        if noted.seek(0, os.SEEK_END) < position:
            position = 0  # another file: the old one was deleted
        noted.seek(position)
        whole, newline, _ = noted.read().rpartition(b"\n")  # the last line may be half there
    lines = whole.decode(errors="replace").splitlines()
    return {line for line in lines if RUN_ID.fullmatch(line)}, position + len(whole + newline)
