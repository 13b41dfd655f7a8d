"""How much of a run's journal MLflow has, and why it has no more."""

from dataclasses import dataclass, fields
from pathlib import Path

from vertiform.files import read_json

SHIPPED = "shipped.json"  # beside the journal


@dataclass(frozen=True)
class Shipped:
    """How much of a journal MLflow has. Lost or stale it costs time only: all is sent again."""

    run_id: str | None = None
    position: int = 0  # bytes of the journal
    is_ended: bool = False  # the run's state is final, until its process takes it up again
    is_creating: bool = False  # a call that creates the run was begun
    refused: int = 0  # points and records that MLflow would never take, and damaged lines
    trouble: str = ""  # why nothing is taken now


class NotYetError(Exception):
    """The store takes nothing now; the same call later may succeed."""


class RunGoneError(NotYetError):
    """The store does not know the run: it was erased, or the store was put back to before it."""


def read_shipped(folder: Path) -> Shipped:
    """Read how far the journal in `folder` is; what cannot be read is nothing yet."""
    try:
        values = read_json(folder / SHIPPED)
        return Shipped(**{f.name: values[f.name] for f in fields(Shipped)})
    except (OSError, ValueError, KeyError, TypeError):
        return Shipped()
