"""How every command of Vertiform ends: its exit code, and what a person reads when it fails."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from vertiform.errors import EXIT_USER, StorageError, VertiformError


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a VertiformError into two lines on stderr and exit code 2; log at INFO meanwhile.

    Anything else is a bug of ours and keeps its traceback.
    """
    prepare_environment()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        yield
    except VertiformError as error:
        _end(error)
    except OSError as error:
        # A library's own writing, where the place it wrote to is not ours to name.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _end(
            StorageError(
                f"No space is left on the disk: {error}.",
                fix="free some space, then run the same command again.",
            )
        )


def _end(error: VertiformError) -> NoReturn:
    sys.stderr.write(f"Error: {error}\n")
    sys.exit(EXIT_USER)


def prepare_environment() -> None:
    """Set what must stand before torch and MLflow load: calm threads, no telemetry, no network."""
    # Spinning OpenMP threads collapse when a core is shared: a step took 1.86 s, passive 0.65 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not os.environ.get("VERTIFORM_ALLOW_NETWORK"):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
