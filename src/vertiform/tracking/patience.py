"""Asks a store again that failed only because others write to it too."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

SECONDS_TO_TRY = 60.0
# SQLite, where two wait for each other; MLflow, which gives up a number after three tries; others.
OTHERS_WRITE = ("database is locked", "Model Version creation error", "deadlock detected")

T = TypeVar("T")


def patiently(ask: Callable[[], T]) -> T:
    """Return what `ask` returns; ask again, at random moments, while others are in its way."""
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + SECONDS_TO_TRY
    pause = 0.02
    while True:
        try:
            return ask()
        except MlflowException as error:
            is_contention = any(words in str(error) for words in OTHERS_WRITE)
            if not is_contention or time.monotonic() + pause > deadline:
                raise
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, 1.0)
