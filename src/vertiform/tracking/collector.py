"""Keeps Python's collector of reference cycles from what large packages leave for good."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_collecting() -> Iterator[None]:
    """Hold the collector back for the block: for large imports, or for all of a short command.

    MLflow, SQLAlchemy and pandas make hundreds of thousands of objects that stay, and each full
    collection meanwhile walks through them all again: 0.4 s of the 2.0 s that opening a store took.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def end_without_collecting() -> None:
    """Spare this process the collections at its end, over objects that go away with it: 0.4 s."""
    atexit.register(gc.freeze)
