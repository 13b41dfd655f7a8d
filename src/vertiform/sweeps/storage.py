"""Where a study lives: a file on one machine, or PostgreSQL for workers on many."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage

from vertiform.errors import StorageError
from vertiform.sweeps.claims import Claims, FileClaims
from vertiform.sweeps.database import open_database
from vertiform.sweeps.journal_file import JournalFile
from vertiform.sweeps.postgres_claims import PostgresClaims

LINES = "journal.lines"
CLAIMS = "claims"

MakeClaims = Callable[[int], Claims]  # from the id of a study


def open_storage(
    folder: Path, address: str | None, heartbeat_seconds: int
) -> tuple[BaseStorage, MakeClaims]:
    """Open the storage of a sweep, and say how claims on the trials of a study are made.

    folder: of the study; what is kept as files is kept there.
    address: None for a file in the folder; postgresql://user@host:port/database for a database.
    Raises StorageError if it cannot be opened, ConfigError if the address cannot be one.
    """
    quieten_optuna()
    if address is None:
        journal = JournalFile(_made(folder) / LINES)
        return JournalStorage(journal), lambda _: FileClaims(folder / CLAIMS)
    database = open_database(address)
    return database, lambda study_id: PostgresClaims(
        database, study_id, heartbeat_seconds=heartbeat_seconds
    )


def quieten_optuna() -> None:
    """Keep to ourselves what Optuna says of itself; its warnings are logged as ours are."""
    optuna.logging.set_verbosity(logging.WARNING)
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    warnings.filterwarnings("ignore", category=ExperimentalWarning)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The folder of this sweep, {folder}, cannot be made: {error.strerror or error}.",
            fix="free some space, or give yourself the right to write there.",
        ) from error
    return folder
